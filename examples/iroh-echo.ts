/**
 * `example/echo/1`: an echo for programs of iroh 1.x, which know a node by its key as we do.
 *
 * iroh shows raw public keys (RFC 7250) and no certificates, hence `tls: "raw"`; its EndpointId is the 64 hex
 * digits of our fingerprint, either way. `keyed`: whoever proves a key may come in, known here or not.
 *
 * @module
 */

import { pipeline } from "node:stream/promises";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { ProtocolHandler } from "@alknet/core/handler";

export interface IrohEchoOptions {
  /** How long a peer may go without opening a stream, in milliseconds. @default 30_000 */
  readonly idle?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** Serve `example/echo/1` on QUIC, which is all that iroh speaks. */
export function irohEcho(options: IrohEchoOptions = {}): ProtocolHandler {
  const { idle = 30_000, clock = systemClock } = options;
  return {
    alpns: ["example/echo/1"],
    access: "keyed",
    tls: "raw",
    transports: ["quic"],
    async handle(connection) {
      for (;;) {
        const stream = await connection.accept({ signal: clock.timeout(idle) });
        if (stream === undefined) return;
        await pipeline(stream, stream);
      }
    },
  };
}
