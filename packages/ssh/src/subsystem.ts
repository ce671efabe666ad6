/**
 * Subsystems (RFC 4254 §6.5): services that a session may ask for by name instead of a command. They are handed in.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { AuthContext } from "@alknet/core/access";
import type { Account } from "./account.ts";

/**
 * Serve one session.
 *
 * @param channel what the client sends and reads. It is ended once this has returned, and not before: the status goes
 *   ahead of its end.
 * @returns the exit status.
 */
export type Subsystem = (channel: Duplex, context: SubsystemContext) => Promise<number>;

export interface SubsystemContext {
  /** For the rights that it needs: it asks for them itself, and holds them. */
  readonly auth: AuthContext;
  readonly account: Account;
  /** Aborts when the session is over, and when its account is no longer the peer's. */
  readonly signal: AbortSignal;
}

/** By name. */
export type Subsystems = Readonly<Record<string, Subsystem>>;

/**
 * Look one up.
 *
 * @throws {Error} if there is none of that name: the message is for the client.
 */
export function subsystemOf(subsystems: Subsystems, name: string): Subsystem {
  const found = Object.hasOwn(subsystems, name) ? subsystems[name] : undefined;
  if (found !== undefined) return found;
  const hint =
    name === "sftp" ? ": it comes with a package of its own. `scp -O` and rsync work without" : "";
  throw new Error(`subsystem ${JSON.stringify(name.slice(0, 64))} is not served here${hint}`);
}
