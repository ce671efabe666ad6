/**
 * What the operations of a node work on.
 *
 * @module
 */

import type { ConfigWatch } from "@alknet/core/config-watch";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { CallStats } from "@alknet/call/session";
import type { Node } from "../node.ts";
import type { NodeVault } from "../node-vault.ts";

export interface NodeSources {
  readonly node: Pick<Node, "status" | "connections" | "closeConnections" | "refusals">;
  readonly store: IdentityStore;
  /** What of it is in use, and how the file stands to that. */
  readonly configuration: Pick<ConfigWatch, "config" | "state" | "reload">;
  readonly vault: Pick<NodeVault, "status">;
  /** Of the sessions of calls that are open now. */
  readonly calls: () => readonly CallStats[];
}
