/**
 * A connection over a Unix socket: one stream, no TLS. Who is there is known by the socket's folder, or by what
 * the caller found out; there are no keys to tell it by.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { OwnedConnection } from "./connection.ts";
import type { Clock } from "./clock.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { SingleStreamConnection } from "./single-stream-connection.ts";

export interface UnixOptions extends ConnectionOwner {
  readonly side: "client" | "server";
  /** Connected, half-open allowed, and nothing was read. The connection owns it. */
  readonly socket: Socket;
  /** The protocol spoken there: a Unix socket names one by its path, not in a handshake. */
  readonly alpn: string;
  /** How long `close()` waits while nothing moves, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
}

export function unixConnection(options: UnixOptions): OwnedConnection {
  const { socket } = options;
  return new SingleStreamConnection({
    ...options,
    stream: socket,
    transport: "unix",
    remoteAddress: undefined,
    serverName: undefined,
    // A Unix socket knows no reset: an end is all that its peer gets to see.
    cut: () => {},
    moved: () => socket.bytesRead + socket.bytesWritten - socket.writableLength,
  });
}
