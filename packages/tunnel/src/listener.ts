/**
 * A local listener whose connections are flows: what `forward` and `socks` have in common.
 *
 * @module
 */

import { createServer, type AddressInfo, type Socket } from "node:net";
import { type Logger, silentLogger } from "@alknet/core/log";
import { resetSocket } from "@alknet/core/reset-socket";
import { bindLocal, type BoundLocal } from "./bind-local.ts";
import { bindUnix } from "./bound-server.ts";
import { removeDeadSocket } from "./dead-socket.ts";

export interface ListenerOptions {
  /**
   * An address, or `localhost`: both loopbacks, at one port. Whoever can connect uses the rights of this node.
   *
   * @default "localhost"
   */
  host?: string | undefined;
  /** 0: the system picks one. */
  port: number;
  /** Connections at a time; those above are closed. @default 4_096 */
  maxConnections?: number | undefined;
}

export interface UnixListenerOptions {
  /** Where the Unix socket is to be; absolute. */
  path: string;
  /** As that of {@linkcode ListenerOptions}. */
  maxConnections?: number | undefined;
  /** Hears that a dead socket was replaced, and that our own could not be removed. */
  logger?: Logger | undefined;
}

/** Where TCP is listened for. */
export interface TcpAddress {
  readonly address: string;
  readonly port: number;
}

/** A running listener; `await using` closes it. */
export interface Listener<Address = TcpAddress> extends AsyncDisposable {
  /** Of `localhost` 127.0.0.1, where this machine has it. */
  readonly address: Address;
  /** Connections that stand now. */
  readonly connections: number;
  /** Take no new ones, and wait for those that stand. Idempotent. */
  close(): Promise<void>;
  /** End now: those that stand are reset. */
  abort(reason?: Error): void;
}

/**
 * Serve a connection. Its socket is paused, allows half-open and has no Nagle delay; `signal` aborts with the
 * listener. What is left open when it settles is reset.
 */
export type ServeLocal = (socket: Socket, signal: AbortSignal) => Promise<void>;

const MAX_CONNECTIONS = 4_096;

/**
 * Listen on a TCP port, and have `serve` take each connection.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`).
 */
export async function listen(options: ListenerOptions, serve: ServeLocal): Promise<Listener> {
  const { host = "localhost", port, maxConnections = MAX_CONNECTIONS } = options;
  const served = serveEach(serve, maxConnections);
  const bound = await bindLocal(host, port, (at, wanted) => bindTcp(at, wanted, served.accept));
  return served.listener(bound[0]!.address, async () => {
    await Promise.all(bound.map((each) => each.close()));
  });
}

/** Listen at one address; IPv4 counts as within `::`. */
async function bindTcp(
  host: string,
  port: number,
  accept: (socket: Socket) => void,
): Promise<BoundLocal> {
  const server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  });
  server.on("connection", accept);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1_024 }, () => {
      server.off("error", reject);
      // Accepting failed for want of descriptors: the next one may do.
      server.on("error", () => {});
      resolve();
    });
  });
  const { address, port: got } = server.address() as AddressInfo;
  return {
    address: { address, port: got },
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

/**
 * Listen on a Unix socket, of mode 0600, and have `serve` take each connection. It is removed when the listener is
 * closed.
 *
 * A socket of this user at which nobody listens any more is replaced; all else that is at `path` stays, and is an
 * error.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `ENOENT`, `ENAMETOOLONG`), which has the `path`.
 */
export async function listenUnix(
  options: UnixListenerOptions,
  serve: ServeLocal,
): Promise<Listener<string>> {
  const { path, maxConnections = MAX_CONNECTIONS, logger = silentLogger } = options;
  const served = serveEach(serve, maxConnections);
  if (await removeDeadSocket(path)) {
    logger.info({ listen: path }, `replaces ${path}: nobody listened there any more`);
  }
  const server = await bindUnix(path, served.accept).catch((error: unknown) => {
    throw pathError(error as NodeJS.ErrnoException, path);
  });
  return served.listener(path, async () => {
    const left = server.close();
    if (left !== undefined) logger.warn({ listen: path, err: left }, `${path} is not removed`);
  });
}

/** The system's error with the path that was asked for: it is bound under another one. */
function pathError(cause: NodeJS.ErrnoException, path: string): Error {
  const { code = "FAILED" } = cause;
  const known: Readonly<Record<string, string>> = {
    EADDRINUSE: "something is there already",
    EACCES: "permission denied",
    ENOENT: "its folder does not exist",
  };
  const message = `${code}: ${known[code] ?? cause.message}, ${path}`;
  return Object.assign(new Error(message, { cause }), { code, path });
}

/** What takes connections, and knows which of them stand. */
interface Served {
  readonly accept: (socket: Socket) => void;
  /** @param stop take no new ones */
  listener<Address>(address: Address, stop: () => Promise<void>): Listener<Address>;
}

function serveEach(serve: ServeLocal, maxConnections: number): Served {
  const over = new AbortController();
  const live = new Set<Promise<void>>();

  function accept(socket: Socket): void {
    // Also while nobody else listens: a client may go at any time.
    socket.on("error", () => {});
    if (live.size >= maxConnections) return void socket.destroy();
    const served = serve(socket, over.signal)
      .catch(() => {})
      .then(() => {
        resetSocket(socket);
      });
    live.add(served);
    void served.then(() => live.delete(served));
  }

  return {
    accept,
    listener(address, stop) {
      let closing: Promise<void> | undefined;
      async function close(): Promise<void> {
        await Promise.all([stop(), ...live]);
      }
      return {
        address,
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
    },
  };
}
