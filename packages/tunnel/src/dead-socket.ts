/**
 * Unix sockets that a program left when it was killed.
 *
 * @module
 */

import { lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";

/**
 * Remove the Unix socket at `path` if it is this user's and nobody listens there. Anything else stays: a file, a link,
 * another user's socket, and one that takes no connections just now.
 *
 * @returns whether one was removed.
 * @throws {Error} of the system, if it must not be removed.
 */
export async function removeDeadSocket(path: string): Promise<boolean> {
  const found = ownSocketAt(path);
  if (found === undefined || !(await refusesAt(path))) return false;
  // From here to the removal nothing waits: another may have begun to listen there meanwhile.
  if (ownSocketAt(path) !== found) return false;
  unlinkSync(path);
  return true;
}

/** The same text as long as it is the same file; the number of one that is gone is soon another's. */
function ownSocketAt(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (!stat?.isSocket() || Number(stat.uid) !== process.geteuid?.()) return undefined;
  return `${stat.dev} ${stat.ino} ${stat.ctimeNs}`;
}

/** Whether the system says that nobody listens. One with a full queue, or of datagrams, does not refuse. */
function refusesAt(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
}
