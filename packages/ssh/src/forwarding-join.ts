/**
 * Join a socket and a channel: bytes, the end of either direction, resets and back-pressure, both ways.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { resetSocket } from "@alknet/core/reset-socket";
import { passOn } from "./pass-on.ts";

/**
 * Bytes that may wait in front of one side before the other is no longer read. More makes nothing faster: what keeps the
 * peer busy meanwhile waits in the transport. The last read, of up to half a megabyte, comes on top.
 */
const MAX_WAITING = 64 * 1024;

/**
 * Copy until both directions have ended, or either side breaks: then the other is broken too. Takes over both, and
 * resolves when they are closed: with what broke them, or `undefined` if they came to their ends. Never rejects.
 *
 * `socket` allows half-open.
 *
 * @param signal its abort breaks both.
 */
export function joinChannel(
  socket: Socket,
  channel: Duplex,
  signal: AbortSignal,
): Promise<Error | undefined> {
  return new Promise((resolve) => {
    let broken: Error | undefined;
    let open = 2;

    function breakBoth(error: Error): void {
      broken ??= error;
      channel.destroy(error);
      resetSocket(socket);
    }
    const aborted = (): void => breakBoth(signal.reason as Error);

    for (const side of [socket, channel]) {
      side.on("error", breakBoth);
      const closed = (): void => {
        const hasEnded = side.readableEnded && side.writableFinished;
        if (!hasEnded) breakBoth(new Error("one side was closed before its end"));
        if (--open > 0) return;
        signal.removeEventListener("abort", aborted);
        resolve(broken);
      };
      if (side.closed) closed();
      else side.once("close", closed);
    }
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted, { once: true });
    if (broken !== undefined) return;
    copy(socket, channel);
    copy(channel, socket);
  });
}

/** Copy one direction, with its end. */
function copy(from: Duplex, to: Duplex): void {
  passOn(from, to, MAX_WAITING);
  from.once("end", () => to.end());
  from.resume();
}
