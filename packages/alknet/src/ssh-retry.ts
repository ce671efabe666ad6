/**
 * Whether a connection that was there may be tried again.
 *
 * @module
 */

import { CommandError, ExitCode } from "./command-error.ts";

/** Whether it came to nothing for a reason that stays. */
export function isLasting(error: unknown): boolean {
  if (error instanceof CommandError) return error.exitCode !== ExitCode.NOT_CONNECTED;
  const { code, final } = error as { code?: unknown; final?: boolean };
  // A node that is shutting down takes no handshake, too.
  if (code === "REFUSED") return false;
  return final === true || code === "UNAVAILABLE" || code === "REVOKED";
}
