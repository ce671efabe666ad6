/**
 * The document that `alknet status --json` prints.
 *
 * @module
 */

import type { IdentityProblem } from "@alknet/core/identity-index";
import type { LimitsReport } from "@alknet/core/limits";
import type { BackendState } from "@alknet/core/store-backend";
import type { ConfigStatus } from "./config-reload.ts";
import type { VaultAgentStatus } from "./vault-agent-operations.ts";

export interface NodeStatus {
  readonly version: string;
  readonly pid: number;
  readonly name: string | undefined;
  readonly fingerprint: string;
  /** Where others may reach it, `host:port`. */
  readonly addresses: readonly string[];
  /** Where it listens, `host:port`; UDP and TCP. */
  readonly listen: readonly string[];
  readonly config: string;
  /** Seconds since the start. */
  readonly uptime: number;
  readonly draining: boolean;
  /** Flows of the tunnel that stand. */
  readonly flows: number;
  readonly connectionCount: number;
  /** The newest {@linkcode MAX_LISTED}. */
  readonly connections: readonly ConnectionStatus[];
  /** Who was not let in lately, the newest last. */
  readonly refused: readonly RefusalStatus[];
  /** Number of those known, by the configuration and by the store. */
  readonly peers: number;
  /** `stale`: it cannot be read, and what was read last holds. */
  readonly store: { readonly path: string; readonly state: BackendState };
  /** Whether the file of the configuration is what is in use. */
  readonly configuration: ConfigStatus;
  /** Of the vault's agent; `undefined`: there is no vault, or none that answers. */
  readonly vault?: VaultAgentStatus | undefined;
  /** Entries that grant less than was meant. */
  readonly problems: readonly IdentityProblem[];
  /** Who is penalised, who uses most. Times in milliseconds. */
  readonly limits: LimitsReport;
}

export interface ConnectionStatus {
  readonly alpn: string;
  readonly transport: string;
  readonly peer: string | undefined;
  readonly remoteAddress: string | undefined;
  /** Since it was opened. */
  readonly seconds: number;
}

export interface RefusalStatus {
  /** RFC 3339, UTC. */
  readonly time: string;
  /** Peer, fingerprint, or `no key`. */
  readonly who: string;
  readonly alpn: string;
  readonly reason: string;
  /** The scope that would have allowed it. */
  readonly scope?: string | undefined;
}

/** The reason why a peer is refused that is disabled. */
export const DISABLED = "disabled";

/** Why somebody was refused, for the owner. */
export function formatRefusal({ reason, scope }: RefusalStatus): string {
  return scope === undefined ? reason : `lacks ${scope}`;
}

/** Most connections that one document lists. */
export const MAX_LISTED: number = 1_000;
