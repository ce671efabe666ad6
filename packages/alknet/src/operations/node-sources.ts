/**
 * What the operations of a node work on.
 *
 * @module
 */

import type { ConfigWatch } from "@alknet/core/config-watch";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { CallStats } from "@alknet/call/session";
import type { EventLog } from "../event-log.ts";
import type { VaultAgentStatus } from "../vault-agent-operations.ts";
import type { ConnectionSelection, ConnectionStatus } from "./connection-status.ts";
import type { NodeStatus, RefusalStatus } from "./status-document.ts";

export interface NodeSources {
  readonly node: OperatedNode;
  readonly store: IdentityStore;
  /** What of it is in use, and how the file stands to that. */
  readonly configuration: Pick<ConfigWatch, "config" | "state" | "reload">;
  readonly vault: OperatedVault;
  /** Of the sessions of calls that are open now. */
  readonly calls: () => readonly CallStats[];
}

/** What of a running node is operated. */
export interface OperatedNode {
  /** All but what whoever reads the configuration knows. */
  status(): Omit<NodeStatus, "configuration" | "vault">;
  /** Connections that services have now, oldest first. */
  connections(wanted: ConnectionSelection): ConnectionStatus[];
  /** Close them in order, within the drain time. @returns how many. */
  closeConnections(wanted: ConnectionSelection): number;
  /** Who was not let in, the newest last. */
  readonly refusals: EventLog<RefusalStatus>;
}

/** What of the vault is told of. */
export interface OperatedVault {
  /** `undefined`: there is no vault, or its agent has ended. */
  status(): Promise<VaultAgentStatus | undefined>;
}
