/**
 * A configuration that takes the place of another in a node that runs.
 *
 * @module
 */

import type { Cut } from "@alknet/core/access";
import type { Config } from "@alknet/core/config";
import { ConfigInvalid } from "@alknet/core/config-problem";
import type { ConfigState } from "@alknet/core/config-watch";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { AdmissionLimits } from "@alknet/core/limits";
import type { StaticIdentities } from "@alknet/core/static-identities";
import type { Inbound } from "@alknet/tunnel/inbound";
import type { Outbound } from "@alknet/tunnel/outbound";
import type { SshService } from "./ssh-service.ts";

/** What of a node follows its configuration. */
export interface Reconfigured {
  /** Who is known by the configuration. */
  readonly configured: Pick<StaticIdentities, "replace">;
  /** Who is known by the store; its roles are those of the configuration. */
  readonly store: Pick<IdentityStore, "setRoles">;
  readonly limits: Pick<AdmissionLimits, "change">;
  readonly outbound: Pick<Outbound, "setLimits">;
  readonly inbound: Pick<Inbound, "setLimits">;
  /** `undefined`: it is not served. */
  readonly ssh?: Pick<SshService, "reconfigure"> | undefined;
}

/**
 * Put `next` in place. What needs a restart stays as it is.
 *
 * @returns what that has ended.
 * @throws if it cannot be; nothing has changed then.
 */
export function reconfigure(
  { configured, store, limits, outbound, inbound, ssh }: Reconfigured,
  next: Config,
): Cut {
  const { peers, apiKeys, roles } = next;
  // First what may be refused: limits are no harm to anybody who is connected.
  limits.change(next.limits);
  const cut: Cut = { connections: 0, grants: 0 };
  try {
    add(cut, configured.replace(peers, apiKeys, roles));
  } catch (error) {
    // All have been told, and one of them has failed: what was replaced is in force, and the rest has to follow.
    if (error instanceof AggregateError) follow();
    throw error;
  }
  follow();
  return cut;

  function follow(): void {
    add(cut, store.setRoles(roles));
    outbound.setLimits(next.tunnel);
    inbound.setLimits(next.tunnel);
    ssh?.reconfigure(next.ssh);
  }
}

function add(sum: Cut, { connections, grants }: Cut): void {
  sum.connections += connections;
  sum.grants += grants;
}

/** How the file of the configuration stands to what is in use, as `alknet status` tells it. */
export interface ConfigStatus {
  /** `refused`: the file cannot be used, and what was in use before is. */
  readonly state: "current" | "refused";
  /** RFC 3339, UTC. */
  readonly since: string;
  /** Keys that have other values now than the node was started with, and need a restart. */
  readonly restart: readonly string[];
  readonly error?: ConfigFault | undefined;
}

export interface ConfigFault {
  /** The first of what is wrong, in one line. */
  readonly message: string;
  /** All of it; empty if it is not a mistake in the file. */
  readonly problems: readonly {
    readonly line: number;
    readonly column: number;
    readonly key: string | undefined;
    readonly message: string;
  }[];
}

export function configStatus(state: ConfigState): ConfigStatus {
  return {
    state: state.kind,
    since: new Date(state.since).toISOString(),
    restart: state.restart,
    error: state.kind === "refused" ? configFault(state.error) : undefined,
  };
}

export function configFault(error: Error): ConfigFault {
  const problems = error instanceof ConfigInvalid ? error.problems : [];
  return {
    message: error.message,
    problems: problems.map(({ line, column, key, message }) => ({ line, column, key, message })),
  };
}
