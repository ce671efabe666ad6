/**
 * What the operations of a node work on.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import type { ConfigWatch } from "@alknet/core/config-watch";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { CallStats } from "@alknet/call/call-session";
import type { Node } from "../node.ts";
import type { NodeVault } from "../node-vault.ts";

export interface NodeSources {
  readonly node: Pick<Node, "status" | "connections" | "closeConnections" | "refusals">;
  readonly store: IdentityStore;
  readonly configuration: Pick<ConfigWatch, "config" | "state" | "reload">;
  readonly vault: Pick<NodeVault, "status">;
  /** Of the sessions of calls that are open now. */
  readonly calls: () => readonly CallStats[];
}

/** In use: what stands in the file may be waiting for a mistake to be mended. */
export function configOf({ configuration }: NodeSources): Config {
  return configuration.config;
}
