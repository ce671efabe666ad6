/**
 * Sockets that leave nothing of what they have read where it was read to.
 *
 * Node reads into 64 KiB of its own, hands on a copy of what came, and frees the rest as it is: the passphrase that an
 * agent was unlocked with stayed there until something else was read over it (`interop/vault-agent-memory.test.ts`). Here
 * all is read into one place, of which each chunk is a copy that its reader wipes.
 *
 * @module
 */

import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";
import { secretBytes, secretCopy, wipe } from "@alknet/vault/wipe";

/** What was read is taken from here before anything else is: one place does for all sockets. */
const READ_INTO = secretBytes(65_536);

/** The option `onread` of `socket`. Chunks are memory of their own, and its reader's to wipe. */
export function wipedReads(socket: () => Socket): OnReadOpts {
  return {
    buffer: READ_INTO,
    callback(length, buffer) {
      const read = buffer.subarray(0, length);
      const chunk = secretCopy(read);
      wipe(read);
      return socket().push(chunk);
    },
  };
}

/**
 * A socket in the place of one that a server with `pauseOnConnect` has accepted, for servers have no such option.
 *
 * It is half-open, and no longer counted by the server.
 */
export function withWipedReads(accepted: Socket): Socket {
  // Not documented, and as it is since the first days of Node: what a socket stands on.
  const owner = accepted as unknown as { _handle: unknown };
  const { _handle: handle } = owner;
  owner._handle = null;
  accepted.destroy();
  const options = { handle, allowHalfOpen: true, onread: wipedReads(() => socket) };
  const socket: Socket = new Socket(options as SocketConstructorOpts);
  return socket;
}
