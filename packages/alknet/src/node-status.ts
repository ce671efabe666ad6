/**
 * What the status of a node says, in words.
 *
 * @module
 */

import type { RefusalStatus } from "./operations/node-status.ts";

/** The reason why a peer is refused that is disabled. */
export const DISABLED = "disabled";

/** Why somebody was refused, for the owner. */
export function formatRefusal({ reason, scope }: RefusalStatus): string {
  return scope === undefined ? reason : `lacks ${scope}`;
}

/** Most connections that one document lists. */
export const MAX_LISTED: number = 1_000;
