/**
 * A QUIC endpoint: one UDP socket that serves and dials, on Node's own event loop.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { checkInteger, MAX_CODE } from "./check-integer.ts";
import { type QuicCloseReason, QuicConnectionClosed } from "./close-reason.ts";
import type { QuicConnection, WaitOptions } from "./connection.ts";
import { Driver } from "./driver.ts";
import { native, type NativeTransport } from "./native.ts";
import { clientTlsId, serverTlsId, type TlsClientConfig, type TlsServerConfig } from "./tls.ts";

/** Where a datagram came from. Information: only a validated address was proved to receive there. */
export interface Source {
  address: string;
  port: number;
  /** The client showed a token of ours (Retry, RFC 9000 §8.1). */
  validated: boolean;
}

/**
 * What to do with a first packet: go on with the handshake, make the client prove its address, close, or
 * say nothing. `retry` of a client that did it already refuses it.
 */
export type Admission = "accept" | "retry" | "refuse" | "ignore";

/** What the complete ClientHello asks for. */
export interface ClientHello {
  /** Protocol names in the client's order, bytes as Latin-1; at most 64. */
  alpn: readonly string[];
  /** SNI, as sent: anything at all. */
  serverName: string | undefined;
  source: Source;
}

/** TLS settings and the one name to select, which must be among those offered; or a TLS alert (RFC 8446 §6). */
export type Configuration = { tls: TlsServerConfig; alpn: string } | { alert: number };

/** An admitted handshake that ended without a connection. */
export interface HandshakeFailure {
  /** The number that `admit` had. */
  handshake: number;
  /** `validated` also when the client answered our handshake, which proves its address. */
  source: Source;
  reason: QuicCloseReason;
}

export interface ServerOptions {
  /**
   * Decide at the first packet, before any costly work. Synchronous; must not use the endpoint, but for
   * `dropHandshake`. `handshake` numbers what is admitted.
   * @default everybody is accepted
   */
  admit?: ((source: Source, handshake: number) => Admission) | undefined;
  /**
   * Decide at the complete ClientHello. Synchronous; must not use the endpoint. What it throws becomes
   * the alert `internal_error` and an uncaught exception.
   */
  configure: (hello: ClientHello) => Configuration;
  handshakeFailed?: ((failure: HandshakeFailure) => void) | undefined;
  /**
   * Takes connections as they become ready, their client certificates proved.
   * @default they wait for `accept()`, at most 1,024 of them
   */
  connection?: ((connection: QuicConnection) => void) | undefined;
}

/** Times in milliseconds, windows and buffers in bytes. */
export interface TransportOptions {
  /** Without any packet for this long the connection ends. 0: never. @default 30_000 */
  idleTimeout?: number | undefined;
  /** PING after this long without a packet, while a stream is open. 0: never. @default 10_000 */
  keepAlive?: number | undefined;
  /** @default 10_000 */
  handshakeTimeout?: number | undefined;
  /** Streams that the peer may have open at first, bidirectional and unidirectional each. @default 64 */
  maxStreams?: number | undefined;
  /** @default 16 MiB */
  streamReceiveWindow?: number | undefined;
  /** @default 64 MiB */
  receiveWindow?: number | undefined;
  /** Most bytes of writes that are buffered here; what is used follows the path's capacity. @default 32 MiB */
  sendWindow?: number | undefined;
  /** UDP payload to start with, at most 10,000. @default 1_200 */
  initialMtu?: number | undefined;
  /** Largest UDP payload that is probed for; up to 6,400 pays on loopback and jumbo frames. @default 1_452 */
  mtuUpperBound?: number | undefined;
  /** How the rate is found: by what the path delivers, or, the other two, by losses. @default "bbr" */
  congestion?: "cubic" | "newreno" | "bbr" | undefined;
  /** Bytes of datagrams buffered each way; 0: no datagrams. @default 1 MiB */
  datagramBuffer?: number | undefined;
}

export interface EndpointOptions {
  /** An IP address. @default "::", both families, or "0.0.0.0" on a machine without IPv6 */
  address?: string | undefined;
  /** @default 0, any that is free */
  port?: number | undefined;
  /** Bytes asked of the kernel for each direction, which clamps them silently. @default 4 MiB */
  socketBuffer?: number | undefined;
  /**
   * At least 32 secret bytes that stay the same over restarts: peers of an earlier life are then told at
   * once that their connections are gone (RFC 9000 §10.3).
   */
  resetKey?: Uint8Array | undefined;
  /** For connections that are accepted, and for dialed ones unless `connect` says otherwise. */
  transport?: TransportOptions | undefined;
  /** Absent: the endpoint only dials. */
  server?: ServerOptions | undefined;
  /**
   * The number that a `Duplex` destroyed with this error sends; `null` without an error.
   * @default `error.resetCode`, else 0
   */
  resetCodeOf?: ((error: Error | null) => number) | undefined;
}

export interface ConnectOptions extends WaitOptions {
  /** An IP address; names are the caller's. */
  address: string;
  port: number;
  tls: TlsClientConfig;
  /** SNI, and the name that is checked against CA certificates. */
  serverName?: string | undefined;
  transport?: TransportOptions | undefined;
}

/** Connections that wait for `accept()`. */
const MAX_QUEUE = 1024;
/** Unanswered `close()` of an endpoint gives up after this, in milliseconds. */
const CLOSE_DEADLINE = 3_000;
const ADMISSIONS = { accept: 0, retry: 1, refuse: 2, ignore: 3 } as const;
const INTERNAL_ERROR = 80;

/**
 * Bind an endpoint.
 *
 * It keeps the process alive until closed, or `unref()`ed.
 *
 * @throws {Error} with the `code` of the system (`EADDRINUSE`, `EACCES`, …) if the port is not to be had.
 */
export function bind(options: EndpointOptions = {}): QuicEndpoint {
  const endpoint = new QuicEndpoint(options);
  return endpoint;
}

export class QuicEndpoint implements AsyncDisposable {
  readonly #state: State;

  constructor(options: EndpointOptions = {}) {
    this.#state = new State(options);
    orphans.register(this, this.#state);
  }

  /** Where it is bound. */
  get address(): { address: string; port: number; family: "IPv4" | "IPv6" } {
    return this.#state.address;
  }

  /** Bytes that the kernel gave for each direction (Linux counts double what was asked). */
  get socketBuffers(): { receive: number; send: number } {
    const { receiveBuffer, sendBuffer } = native.endpointInfo(this.#state.live());
    return { receive: receiveBuffer, send: sendBuffer };
  }

  /** Connections that are ready. */
  get connectionCount(): number {
    return this.#state.driver.connectionCount;
  }

  /** Handshakes under way, both ways. */
  get handshakeCount(): number {
    return this.#state.closed ? 0 : native.endpointInfo(this.#state.live()).handshakes;
  }

  /**
   * What the engine holds: `connections` that JavaScript or the protocol still knows, the `closing` ones
   * among them that only wait for their last packets to die out, `handshakes` under way, `streams` of all.
   * For monitoring.
   */
  get counts(): { connections: number; closing: number; handshakes: number; streams: number } {
    const { connections, handshakes, streams } = native.endpointInfo(this.#state.live());
    const closing = Math.max(0, connections - this.connectionCount - handshakes);
    return { connections, closing, handshakes, streams };
  }

  /** Datagrams that the system refused to send, and its last word: `EPERM` means a firewall. */
  get sendErrors(): { count: number; last: string | undefined } {
    const { sendErrors, lastSendError } = native.endpointInfo(this.#state.live());
    return { count: sendErrors, last: lastSendError };
  }

  /**
   * Dial.
   *
   * Resolves when TLS is complete here. The server may still refuse our key: its refusal is then the
   * reason in `closed`, before any stream byte has come.
   *
   * @throws {QuicConnectionClosed} with the reason why there is no connection
   * @throws the signal's reason
   */
  connect(options: ConnectOptions): Promise<QuicConnection> {
    return new Promise((resolve, reject) => this.#state.connect(this, options, resolve, reject));
  }

  /** The next connection, for servers without a `connection` function; `undefined` once closed. */
  async accept(options: WaitOptions = {}): Promise<QuicConnection | undefined> {
    return await this.#state.accept(options);
  }

  /** Move to another local address; connections go on (RFC 9000 §9). */
  rebind(options: { address?: string | undefined; port?: number | undefined } = {}): void {
    this.#state.rebind(options);
  }

  /** This machine's addresses changed: dialed connections probe at once, instead of at the next PING. */
  addressChanged(): void {
    native.addressChanged(this.#state.live());
  }

  /** Keep the process alive (the default). */
  ref(): this {
    native.setReferenced(this.#state.live(), true);
    return this;
  }

  /** Let the process end while the endpoint is open. */
  unref(): this {
    native.setReferenced(this.#state.live(), false);
    return this;
  }

  /** Refuse handshakes from now on; connections go on. */
  stopAccepting(): void {
    native.stopAccepting(this.#state.live());
  }

  /**
   * End an admitted handshake without a word, to make room for another; also from inside `admit`. What is
   * no handshake any more is left alone. `handshakeFailed` is not told.
   */
  dropHandshake(handshake: number): void {
    native.dropHandshake(this.#state.live(), handshake);
  }

  /** Send now what this tick queued. Only needed before the process is ended by force. */
  flush(): void {
    native.flush(this.#state.live());
  }

  /**
   * Close every connection with `code`, wait until the peers know (three probe time-outs at most), and
   * give the port back. There is one promise, however often it is called.
   */
  close(options: { code?: number | undefined; reason?: string | undefined } = {}): Promise<void> {
    return this.#state.close(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** An endpoint object was collected. Nobody can dial from it or take its queue any more. */
const orphans = new FinalizationRegistry<State>((state) => state.orphan());

interface Dial {
  /** Held as long as it dials: one that nobody holds any more is closed. */
  readonly endpoint: QuicEndpoint;
  resolve(connection: QuicConnection): void;
  reject(error: unknown): void;
}

/** What lives as long as the socket, apart from the object that people hold. */
class State {
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
    endpoint: QuicEndpoint,
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

function admit(server: ServerOptions | undefined, source: Source, handshake: number): number {
  if (server?.admit === undefined) return ADMISSIONS.accept;
  try {
    const answer = server.admit(source, handshake);
    if (Object.hasOwn(ADMISSIONS, answer)) return ADMISSIONS[answer];
    throw new TypeError(
      `cannot admit: expected accept, retry, refuse or ignore, got ${JSON.stringify(answer)}`,
    );
  } catch (error) {
    rethrowLater(error);
    return ADMISSIONS.refuse;
  }
}

/** The engine reads `tls · 4096 + index of the name`, or `-(alert + 1)`. */
function configure(server: ServerOptions | undefined, hello: ClientHello): number {
  try {
    const answer = server?.configure(hello) ?? { alert: INTERNAL_ERROR };
    if ("alert" in answer) return -(answer.alert + 1);
    const index = hello.alpn.indexOf(answer.alpn);
    if (index < 0) {
      throw new RangeError(
        `cannot select ALPN ${JSON.stringify(answer.alpn)}: the client offers ${JSON.stringify(hello.alpn)}`,
      );
    }
    return serverTlsId(answer.tls) * 4096 + index;
  } catch (error) {
    rethrowLater(error);
    return -(INTERNAL_ERROR + 1);
  }
}

/** Inside the engine nothing may be thrown, and nothing must be swallowed. */
function rethrowLater(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
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

/** Above, the packets of a handshake are longer than the initial congestion window allows. */
const MAX_INITIAL_MTU = 10_000;
/** Milliseconds: 24 days. */
const MAX_TIME = 2 ** 31 - 1;
/** Bytes. */
const MAX_WINDOW = 2 ** 40;
const CONGESTION = { cubic: 0, newreno: 1, bbr: 2 } as const;

/** What `options` says, else what `defaults` says, else our defaults. */
function transportOf(
  options: TransportOptions = {},
  defaults: TransportOptions = {},
): NativeTransport {
  const number = (
    name: Exclude<keyof TransportOptions, "congestion">,
    otherwise: number,
    low: number,
    high: number,
  ): number =>
    checkInteger("set transport", name, options[name] ?? defaults[name] ?? otherwise, low, high);
  const congestion = options.congestion ?? defaults.congestion ?? "bbr";
  if (!Object.hasOwn(CONGESTION, congestion)) {
    throw new TypeError(
      `cannot set transport: congestion must be cubic, newreno or bbr, got ${JSON.stringify(congestion)}`,
    );
  }
  return {
    idleTimeout: number("idleTimeout", 30_000, 0, MAX_TIME),
    keepAlive: number("keepAlive", 10_000, 0, MAX_TIME),
    handshakeTimeout: number("handshakeTimeout", 10_000, 0, MAX_TIME),
    maxStreams: number("maxStreams", 64, 0, 65_536),
    streamReceiveWindow: number("streamReceiveWindow", 16 * 2 ** 20, 0, MAX_WINDOW),
    receiveWindow: number("receiveWindow", 64 * 2 ** 20, 0, MAX_WINDOW),
    sendWindow: number("sendWindow", 32 * 2 ** 20, 0, MAX_WINDOW),
    initialMtu: number("initialMtu", 1_200, 1_200, MAX_INITIAL_MTU),
    mtuUpperBound: number("mtuUpperBound", 1_452, 1_200, 65_000),
    congestion: CONGESTION[congestion],
    datagramBuffer: number("datagramBuffer", 2 ** 20, 0, 2 ** 30),
  };
}
