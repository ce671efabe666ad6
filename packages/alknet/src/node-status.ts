/**
 * What the status of a node says, in words.
 *
 * @module
 */

import type { SessionStatus } from "@alknet/ssh/session-status";
import type { RefusalStatus, SshSessionStatus } from "./operations/status-document.ts";

/** The reason why a peer is refused that is disabled. */
export const DISABLED = "disabled";

/** Why somebody was refused, for the owner. */
export function formatRefusal({ reason, scope }: RefusalStatus): string {
  return scope === undefined ? reason : `lacks ${scope}`;
}

/** A program that runs for a peer, as it is told. */
export function sessionStatus({ since, ...session }: SessionStatus): SshSessionStatus {
  return { ...session, since: new Date(since).toISOString() };
}

/** Most connections that one document lists. */
export const MAX_LISTED: number = 1_000;
