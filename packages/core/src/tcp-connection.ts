/**
 * A connection over TCP and TLS 1.3, on either side: one stream, and that is the TLS socket itself.
 *
 * @module
 */

import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Clock } from "./clock.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { formatHostPort } from "./host.ts";
import { shadowOnce } from "./shadow.ts";
import { SingleStreamConnection } from "./single-stream-connection.ts";

export interface TcpOptions extends ConnectionOwner {
  readonly side: "client" | "server";
  /** The handshake is complete, half-open allowed, and nothing was read. The connection owns it. */
  readonly socket: TLSSocket;
  /** What is beneath it: a socket, or a flow through another peer. */
  readonly raw: Duplex;
  readonly alpn: string;
  readonly serverName: string | undefined;
  /** `address:port`. @default what the system says of a socket */
  readonly remoteAddress?: string | undefined;
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
}

export function tcpConnection(options: TcpOptions): SingleStreamConnection {
  const { side, auth, identities, socket, raw, alpn, serverName, drain, clock } = options;
  return new SingleStreamConnection({
    side,
    auth,
    identities,
    alpn,
    serverName,
    drain,
    clock,
    stream: socket,
    transport: "tcp",
    remoteAddress: options.remoteAddress ?? remoteAddressOf(raw),
    cut: () => cut(socket, raw),
    closed: () => {
      letGo(socket);
      // A flow may be about to close still.
      if (raw.closed) letGo(raw);
    },
    moved: () => socket.bytesRead + socket.bytesWritten - socket.writableLength,
    exportKeyingMaterial: (label, context, length) =>
      socket.exportKeyingMaterial(length, label, Buffer.from(context)),
  });
}

/**
 * Have a socket that is closed keep nobody who listened to it.
 *
 * Node's handle of TLS holds its socket until the next full collection of garbage. All that listens would
 * be held by it, which is the connection and its handler: copied twice, and then old.
 */
function letGo(closed: Duplex): void {
  closed.removeAllListeners();
  closed.on("error", ignore);
}

function ignore(): void {}

function remoteAddressOf(raw: Duplex): string | undefined {
  if (!(raw instanceof Socket)) return undefined;
  const { remoteAddress, remotePort } = raw;
  return remoteAddress === undefined || remotePort === undefined
    ? undefined
    : formatHostPort({ host: remoteAddress, port: remotePort });
}

/**
 * Have the end of `socket`, which is to be destroyed next, be a reset of `raw` beneath it, so that the
 * other end does not take it for an end in order.
 *
 * The reset has to come from within the destruction of the TLS socket: we may be called on OpenSSL's
 * stack, and with its socket gone already Node would free the session under it.
 */
export function cut(socket: TLSSocket, raw: Duplex): void {
  // A flow that is destroyed before its end is a reset by itself.
  if (!(raw instanceof Socket)) return;
  // libuv resets no socket that is being shut down, and Node would then lose its handle.
  const ending = socket.writableEnded && !socket.writableFinished;
  if (ending || raw.destroyed) return;
  shadowOnce(raw, "destroy", () => raw.resetAndDestroy());
}
