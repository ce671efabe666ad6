/**
 * A local TCP listener whose connections are flows: what `forward` and `socks` have in common.
 *
 * @module
 */

import { createServer, type AddressInfo, type Socket } from "node:net";
import { resetSocket } from "@alknet/core/reset-socket";

export interface ListenerOptions {
  /** @default "127.0.0.1": whoever can connect uses the rights of this node. */
  host?: string | undefined;
  /** 0: the system picks one. */
  port: number;
  /** Connections at a time; the system closes those above. @default 4_096 */
  maxConnections?: number | undefined;
}

/** A running listener; `await using` closes it. */
export interface Listener extends AsyncDisposable {
  readonly address: { readonly address: string; readonly port: number };
  /** Connections that stand now. */
  readonly connections: number;
  /** Take no new ones, and wait for those that stand. Idempotent. */
  close(): Promise<void>;
  /** End now: those that stand are reset. */
  abort(reason?: Error): void;
}

/**
 * Listen, and have `serve` take each connection. Its socket is paused, allows half-open and has no Nagle
 * delay; `signal` aborts with the listener. What `serve` leaves open when it settles is reset.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`).
 */
export async function listen(
  options: ListenerOptions,
  serve: (socket: Socket, signal: AbortSignal) => Promise<void>,
): Promise<Listener> {
  const { host = "127.0.0.1", port, maxConnections = 4_096 } = options;
  const over = new AbortController();
  const live = new Set<Promise<void>>();
  const server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  });
  server.maxConnections = maxConnections;
  server.on("connection", (socket) => {
    // Also while nobody else listens: a client may go at any time.
    socket.on("error", () => {});
    const served = serve(socket, over.signal)
      .catch(() => {})
      .then(() => {
        resetSocket(socket);
      });
    live.add(served);
    void served.then(() => live.delete(served));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1_024 }, () => {
      server.off("error", reject);
      // Accepting failed for want of descriptors: the next one may do.
      server.on("error", () => {});
      resolve();
    });
  });
  const { address, port: bound } = server.address() as AddressInfo;

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await Promise.all([closed, ...live]);
  }
  return {
    address: { address, port: bound },
    get connections() {
      return live.size;
    },
    close: () => (closing ??= close()),
    abort(reason = new Error("listener closed")) {
      over.abort(reason);
      void (closing ??= close());
    },
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}
