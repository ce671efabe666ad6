/**
 * `alknet/echo`: what a peer sends on a stream comes back on it, until the peer ends it.
 *
 * To write a handler of your own, copy this file; there is no other to touch.
 *
 * @module
 */

import { pipeline } from "node:stream/promises";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { ProtocolHandler } from "@alknet/core/handler";

export interface EchoOptions {
  /** How long a peer may go without opening a stream, in milliseconds. @default 30_000 */
  idle?: number | undefined;
  clock?: Clock | undefined;
}

/** Serve `alknet/echo`. `handle` rejects with a `TimeoutError` once the peer is idle too long. */
export function echo(options: EchoOptions = {}): ProtocolHandler {
  const { idle = 30_000, clock = systemClock } = options;
  if (!(idle > 0)) throw new RangeError(`cannot serve echo: idle must be above 0, got ${idle}`);
  return {
    alpns: ["alknet/echo"],
    access: "peers",
    tls: "node",
    async handle(connection) {
      for (;;) {
        // Closed, or draining: begin nothing new. The stream in hand was finished.
        const stream = await connection.accept({ signal: clock.timeout(idle) });
        if (stream === undefined) return;
        // One at a time: a stream that waits its turn uses up the peer's window, not our memory.
        await pipeline(stream, stream);
      }
    },
  };
}
