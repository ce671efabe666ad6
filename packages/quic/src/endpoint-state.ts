/**
 * What lives as long as an endpoint's socket, apart from the object that people hold: dials under way, connections that
 * wait for `accept()`, and the order in which it all ends.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { checkInteger, MAX_CODE } from "./check-integer.ts";
import { type QuicCloseReason, QuicConnectionClosed } from "./close-reason.ts";
import type { QuicConnection, WaitOptions } from "./connection.ts";
import { Driver } from "./driver.ts";
import type { ConnectOptions, EndpointOptions } from "./endpoint-options.ts";
import { admit, configure, rethrowLater } from "./handshake.ts";
import { native } from "./native.ts";
import { clientTlsId } from "./tls.ts";
import { transportOf } from "./transport-options.ts";

/** Connections that wait for `accept()`. */
const MAX_QUEUE = 1024;
/** Unanswered `close()` of an endpoint gives up after this, in milliseconds. */
const CLOSE_DEADLINE = 3_000;

interface Dial {
  /** Held as long as it dials: one that nobody holds any more is closed. */
  readonly endpoint: object;
  resolve(connection: QuicConnection): void;
  reject(error: unknown): void;
}

/** Of one endpoint; `driver` has its connections. */
export class EndpointState {
  readonly driver: Driver;
  readonly #options: EndpointOptions;
  readonly #id: number;
  #address: { address: string; port: number; family: "IPv4" | "IPv6" };
  readonly #dials = new Map<number, Dial>();
  readonly #queue: QuicConnection[] = [];
  readonly #waiters = new Set<(connection: QuicConnection | undefined) => void>();
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;
  #orphaned = false;
  closed = false;

  constructor(options: EndpointOptions) {
    this.#options = options;
    if (options.resetKey !== undefined && options.resetKey.length < 32) {
      throw new RangeError(
        `cannot bind: resetKey must have at least 32 bytes, got ${options.resetKey.length}`,
      );
    }
    const driver = new Driver({
      connected: (connection, id) => this.#connected(connection, id),
      dialFailed: (id, reason) => this.#dialFailed(id, reason),
      handshakeFailed: ({ handshake, address, port, validated, reason }) =>
        options.server?.handshakeFailed?.({
          handshake,
          source: { address, port, validated },
          reason,
        }),
      drained: () => this.#drained?.(),
      idle: () => this.#reapOrphan(),
      resetCodeOf: (error) => resetCode(options.resetCodeOf ?? defaultResetCode, error),
    });
    this.driver = driver;
    const { server } = options;
    try {
      this.#id = native.bind(
        {
          address: options.address ?? "::",
          port: checkInteger("bind", "port", options.port ?? 0, 0, 65_535),
          socketBuffer: this.#socketBuffer(),
          resetKey: options.resetKey,
          server: server !== undefined,
          admits: server?.admit !== undefined,
          transport: transportOf(options.transport),
        },
        () => driver.wake(),
        (address, port, validated, handshake) =>
          admit(server, { address, port, validated }, handshake),
        (alpn, serverName, address, port, validated) =>
          configure(server, { alpn, serverName, source: { address, port, validated } }),
      );
    } catch (error) {
      throw systemError(error, options);
    }
    driver.endpoint = this.#id;
    this.#address = this.#readAddress();
  }

  get address(): { address: string; port: number; family: "IPv4" | "IPv6" } {
    return this.#address;
  }

  /** The engine's number, while there is one. */
  live(): number {
    if (this.closed) throw endpointClosed();
    return this.#id;
  }

  #socketBuffer(): number {
    const { socketBuffer = 4 * 2 ** 20 } = this.#options;
    return checkInteger("bind", "socketBuffer", socketBuffer, 0, 2 ** 30);
  }

  #readAddress(): { address: string; port: number; family: "IPv4" | "IPv6" } {
    const { address, port, ipv6 } = native.endpointInfo(this.#id);
    return { address, port, family: ipv6 ? "IPv6" : "IPv4" };
  }

  /** What it throws is as good as rejected. */
  connect(
    endpoint: object,
    options: ConnectOptions,
    resolve: Dial["resolve"],
    reject: Dial["reject"],
  ): void {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#closing !== undefined) throw endpointClosed();
    const id = this.#connectNative(options);
    if (signal === undefined) {
      this.#dials.set(id, { endpoint, resolve, reject });
      return;
    }
    const onabort = (): void => {
      this.#dials.delete(id);
      if (!this.closed) native.close(this.#id, id, 0, new Uint8Array(0));
      reject(signal.reason as Error);
    };
    const done = (): void => signal.removeEventListener("abort", onabort);
    signal.addEventListener("abort", onabort, { once: true });
    this.#dials.set(id, {
      endpoint,
      resolve: (connection) => {
        done();
        resolve(connection);
      },
      reject: (error) => {
        done();
        reject(error);
      },
    });
  }

  #connectNative(options: ConnectOptions): number {
    const { address, port, serverName } = options;
    // The engine has the endpoint's own; handing over eleven numbers costs as much as the rest of a dial.
    const transport =
      options.transport === undefined
        ? undefined
        : transportOf(options.transport, this.#options.transport);
    checkInteger("connect", "port", port, 1, 65_535);
    const tls = clientTlsId(options.tls);
    try {
      return native.connect(this.live(), tls, address, port, serverName, transport);
    } catch (error) {
      const { message } = error as Error;
      if (this.closed) throw error;
      throw Object.assign(
        new Error(
          `cannot connect to ${address} port ${port}: ${message.replace(/^EINVAL: /, "")}`,
          {
            cause: error,
          },
        ),
        { code: "EINVAL", address, port },
      );
    }
  }

  #connected(connection: QuicConnection, id: number): void {
    if (connection.side === "client") {
      const dial = this.#dials.get(id);
      this.#dials.delete(id);
      // Without a dial, it was aborted at the very moment it was ready.
      if (dial === undefined) connection.close();
      else dial.resolve(connection);
      return;
    }
    const take = this.#options.server?.connection;
    if (take !== undefined) return take(connection);
    for (const waiter of this.#waiters) {
      this.#waiters.delete(waiter);
      return waiter(connection);
    }
    if (this.#orphaned || this.#closing !== undefined) connection.close();
    else if (this.#queue.length >= MAX_QUEUE) connection.close(0, "accept queue is full");
    else this.#queue.push(connection);
  }

  #dialFailed(id: number, reason: QuicCloseReason): void {
    const dial = this.#dials.get(id);
    this.#dials.delete(id);
    dial?.reject(new QuicConnectionClosed(reason));
  }

  async accept({ signal }: WaitOptions): Promise<QuicConnection | undefined> {
    signal?.throwIfAborted();
    if (this.#closing !== undefined) return undefined;
    const next = this.#queue.shift();
    if (next !== undefined) return next;
    return await new Promise<QuicConnection | undefined>((resolve, reject) => {
      const waiter = (connection: QuicConnection | undefined): void => {
        signal?.removeEventListener("abort", onabort);
        resolve(connection);
      };
      const onabort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason as Error);
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onabort, { once: true });
    });
  }

  rebind(options: { address?: string | undefined; port?: number | undefined }): void {
    const address = options.address ?? this.#address.address;
    try {
      native.rebind(
        this.live(),
        address,
        checkInteger("rebind", "port", options.port ?? 0, 0, 65_535),
        this.#socketBuffer(),
      );
    } catch (error) {
      throw systemError(error, { address, port: options.port });
    }
    this.#address = this.#readAddress();
  }

  close(options: { code?: number | undefined; reason?: string | undefined }): Promise<void> {
    const { code = 0, reason = "" } = options;
    checkInteger("close", "code", code, 0, MAX_CODE);
    this.#closing ??= this.#close(code, reason).catch((error: unknown) => {
      // From inside its own `admit` or `configure`; another call can do it.
      this.#closing = undefined;
      throw error;
    });
    return this.#closing;
  }

  async #close(code: number, reason: string): Promise<void> {
    if (this.closed) return;
    // Throws where the engine cannot be used now.
    native.stopAccepting(this.#id);
    // 1. Whoever waits for a connection gets none.
    for (const waiter of this.#waiters) waiter(undefined);
    this.#waiters.clear();
    this.#queue.length = 0;
    // 2. Tell the peers, and wait until they can be expected to know.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    for (const connection of this.driver.connections()) connection.close(code, reason);
    native.closeAll(this.#id, code, Buffer.from(reason).subarray(0, 512));
    const deadline = setTimeout(resolve, CLOSE_DEADLINE);
    await promise;
    clearTimeout(deadline);
    // 3. Give the port back.
    this.#destroy();
  }

  #destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.driver.detach();
    native.destroy(this.#id);
    const closed: QuicCloseReason = { kind: "application", by: "local", code: 0, reason: "" };
    for (const dial of this.#dials.values()) dial.reject(new QuicConnectionClosed(closed));
    this.#dials.clear();
  }

  /** The object that people hold is gone. */
  orphan(): void {
    this.#orphaned = true;
    if (this.#serves() || this.closed) return;
    // Nobody can take these any more.
    native.stopAccepting(this.#id);
    for (const connection of this.#queue.splice(0)) connection.close();
    this.#reapOrphan();
  }

  /** Connections reach somebody without the object that people hold. */
  #serves(): boolean {
    return this.#options.server?.connection !== undefined;
  }

  #reapOrphan(): void {
    if (!this.#orphaned || this.#serves() || this.#closing !== undefined || this.closed) return;
    // In order: the peer of the last one should hear of its end.
    if (this.driver.connectionCount === 0 && this.#dials.size === 0) void this.close({});
  }
}

function endpointClosed(): Error {
  return Object.assign(new Error("the endpoint is closed"), { code: "QUIC_ENDPOINT_CLOSED" });
}

function resetCode(of: (error: Error | null) => number, error: Error | null): number {
  try {
    return checkInteger("reset the stream", "the result of resetCodeOf", of(error), 0, MAX_CODE);
  } catch (failure) {
    rethrowLater(failure);
    return 0;
  }
}

function defaultResetCode(error: Error | null): number {
  const code = (error as { resetCode?: unknown } | null)?.resetCode;
  return typeof code === "number" ? code : 0;
}

/** `EADDRINUSE: …` of the engine as Node's own errors are. */
function systemError(
  error: unknown,
  { address = "::", port = 0 }: { address?: string | undefined; port?: number | undefined },
): unknown {
  const match = error instanceof Error ? /^(E[A-Z]+): (.*)$/s.exec(error.message) : null;
  if (match === null) return error;
  const shown = address.includes(":") ? `[${address}]` : address;
  return Object.assign(
    new Error(`cannot bind UDP ${shown}:${port}: ${match[2]}`, { cause: error }),
    {
      code: match[1],
      syscall: "bind",
      address,
      port,
    },
  );
}
