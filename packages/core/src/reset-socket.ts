/**
 * Reset a socket, also while it is ending.
 *
 * @module
 */

import type { Socket } from "node:net";

/**
 * End `socket` with a TCP RST, so that no reader takes what has come for all of it. Does nothing to one that
 * is closed.
 *
 * libuv resets no socket whose shutdown is under way (`EINVAL`), and Node then loses the handle: such a
 * one is closed. All that was written has been handed to the kernel by then, and its end is a true one.
 *
 * A Unix socket has no reset, and is closed.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const shuttingDown =
    socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  // Node throws for what is not TCP; TCP without a remote address is not connected any more.
  if (shuttingDown || socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
