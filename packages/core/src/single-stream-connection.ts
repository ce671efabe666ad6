/**
 * A connection with exactly one stream: over TCP+TLS, a Unix socket, or in memory to test for them.
 *
 * The stream is given out as it is, so that bytes take no detour. What is put in its way is used once:
 * at the first byte, at the end, at an error.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { AuthContext, Credential } from "./access.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode, closeCodeOf } from "./close-code.ts";
import {
  type CloseReason,
  ConnectionClosed,
  type OwnedConnection,
  StreamLimit,
  type Transport,
  type WaitOptions,
} from "./connection.ts";
import {
  ConnectionLife,
  type ConnectionOwner,
  localReason,
  transportReason,
} from "./connection-life.ts";
import { deadlines } from "./deadlines.ts";
import { Incoming } from "./incoming.ts";
import type { Penalty } from "./limit-values.ts";
import type { MemoryOptions } from "./memory-connection.ts";
import { memoryStreams } from "./memory-stream.ts";
import { shadowOnce } from "./shadow.ts";
import { whileMoving } from "./while-moving.ts";
import { withoutStack } from "./without-stack.ts";

export interface SingleStreamOptions extends ConnectionOwner {
  readonly side: "client" | "server";
  /** Half-open allowed; nothing was read from it. The connection owns it. */
  readonly stream: Duplex;
  readonly alpn: string;
  readonly transport: Transport;
  readonly remoteAddress: string | undefined;
  readonly serverName: string | undefined;
  /** Have the peer see that the stream was cut, before it is destroyed with an error. */
  readonly cut: () => void;
  /** Called when the stream has closed, while those who listen are told. */
  readonly closed?: (() => void) | undefined;
  /** Bytes that have moved either way, to see whether an end comes nearer. */
  readonly moved: () => number;
  readonly exportKeyingMaterial?:
    | ((label: string, context: Uint8Array, length: number) => Uint8Array)
    | undefined;
  /** How long `close()` waits while nothing moves, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
}

export class SingleStreamConnection implements OwnedConnection {
  readonly alpn: string;
  readonly transport: Transport;
  readonly multiplexed = false;
  readonly remoteAddress: string | undefined;
  readonly serverName: string | undefined;
  readonly datagrams = undefined;
  onpenalty: ((penalty: Penalty) => void) | undefined;
  readonly #options: SingleStreamOptions;
  readonly #stream: Duplex;
  readonly #life: ConnectionLife;
  readonly #incoming = new Incoming<Duplex>();
  #opened: boolean;
  #closing: Promise<void> | undefined;
  /** Why we end it, from when that is decided. */
  #why: CloseReason | undefined;

  constructor(options: SingleStreamOptions) {
    this.alpn = options.alpn;
    this.transport = options.transport;
    this.remoteAddress = options.remoteAddress;
    this.serverName = options.serverName;
    this.#options = options;
    this.#stream = options.stream;
    this.#life = new ConnectionLife(options, (code, reason) => this.abort(code, reason));
    this.#opened = options.side === "server";
    if (options.side === "server") {
      this.#life.accept();
      this.#incoming.add(this.#stream);
    } else {
      this.#watchFirstByte();
    }
    this.#mapErrors();
    // A stream may fail while nobody listens: that ends the connection, not the process. TLS tells some
    // errors without destroying the stream.
    this.#stream.on("error", (error) => this.#stream.destroy(error));
    this.#stream.on("close", () => this.#end());
    if (this.#stream.closed) queueMicrotask(() => this.#end());
  }

  get auth(): AuthContext {
    return this.#life.auth;
  }

  get accepted(): Promise<void> {
    return this.#life.accepted;
  }

  get draining(): AbortSignal {
    return this.#life.draining;
  }

  get closed(): Promise<CloseReason> {
    return this.#life.closed;
  }

  authenticate(credential: Credential): AuthContext | undefined {
    return this.#life.authenticate(credential);
  }

  penalize(penalty: Penalty): void {
    this.onpenalty?.(penalty);
  }

  accept(options: WaitOptions = {}): Promise<Duplex | undefined> {
    return this.#incoming.take(options);
  }

  async open({ signal }: WaitOptions = {}): Promise<Duplex> {
    signal?.throwIfAborted();
    if (this.#life.reason !== undefined) throw new ConnectionClosed(this.#life.reason);
    if (this.#opened) {
      throw new StreamLimit(
        `cannot open another stream: a connection over ${this.transport} has exactly one, dial again`,
      );
    }
    this.#opened = true;
    return this.#stream;
  }

  exportKeyingMaterial(label: string, context: Uint8Array, length: number): Uint8Array {
    if (this.#life.reason !== undefined) throw new ConnectionClosed(this.#life.reason);
    const exported = this.#options.exportKeyingMaterial?.(label, context, length);
    if (exported !== undefined) return exported;
    throw Object.assign(
      new Error(`cannot export keying material over ${this.transport}: no keys`),
      {
        code: "NO_KEYING_MATERIAL",
      },
    );
  }

  drain(): void {
    this.#life.drain();
    this.#incoming.discard();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#shutdown());
  }

  /** The peer is not served: over one stream that has no codes, an end before any byte. */
  refuse(code: number, reason: string = ""): void {
    if (code !== CloseCode.UNAVAILABLE) return this.abort(code, reason);
    if (this.#why !== undefined) return;
    this.#why = localReason(code, reason);
    void this.close();
    // An end and not a cut, and time for the peer to see it; but no more time than that.
    const { drain = 2_000, clock = systemClock } = this.#options;
    const callOff = deadlines(drain, clock).add(() => this.#stream.destroy());
    this.#stream.once("close", callOff);
  }

  abort(code: number, reason: string = ""): void {
    if (this.#life.reason !== undefined) return;
    this.#why ??= localReason(code, reason);
    this.#stream.destroy(closedBy(this.#why));
    this.#life.end(this.#why);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #shutdown(): Promise<void> {
    const stream = this.#stream;
    this.#incoming.discard();
    if (!stream.destroyed) {
      this.#why ??= localReason(CloseCode.OK);
      // Bytes that nobody takes would turn the close into a reset, and that cuts what we sent: take them,
      // until the peer ends too.
      stream.unpipe();
      stream.removeAllListeners("data");
      stream.removeAllListeners("readable");
      // A listener, because without one Node stops the flow again when the last of "readable" has gone.
      stream.on("data", () => {});
      stream.resume();
      if (!stream.writableEnded) stream.end();
      const over = new Promise<void>((resolve) => stream.once("close", resolve));
      const { moved, drain = 2_000, clock = systemClock } = this.#options;
      await whileMoving(over, moved, drain, clock);
      stream.destroy();
    }
    await this.#life.closed;
  }

  /** On the dialing side: the first byte means that we were let in, an end without one that we were not. */
  #watchFirstByte(): void {
    const stream = this.#stream;
    if (stream.readableLength > 0) return this.#life.accept();
    shadowOnce(stream, "push", (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk !== null) {
        this.#life.accept();
        return stream.push(chunk, encoding);
      }
      // Unless we are done with it ourselves, and only wait for the peer to be.
      if (this.#why !== undefined) return stream.push(null);
      this.#why = {
        by: "peer",
        code: CloseCode.UNAVAILABLE,
        name: "UNAVAILABLE",
        reason: "ended before a byte came",
      };
      stream.destroy(closedBy(this.#why));
      return false;
    });
  }

  /** Say in our words what the transport says in its own; and cut a stream that did not end well. */
  #mapErrors(): void {
    const stream = this.#stream;
    shadowOnce(stream, "destroy", (error?: Error | null) => {
      if (error === undefined || error === null) return stream.destroy();
      // Unless it was the peer who has cut it.
      if ((error as NodeJS.ErrnoException).code !== "ECONNRESET") this.#options.cut();
      return stream.destroy(lossOf(error) ?? error);
    });
  }

  #end(): void {
    this.#incoming.end();
    this.#life.end(this.#why ?? this.#reason());
    this.#options.closed?.();
  }

  #reason(): CloseReason {
    const error = this.#stream.errored;
    if (error instanceof ConnectionClosed) return error.reason;
    if (error !== null && error !== undefined)
      return localReason(closeCodeOf(error), error.message);
    const { readableEnded, writableFinished } = this.#stream;
    if (readableEnded && writableFinished) {
      return { by: "peer", code: undefined, name: "OK", reason: "both sides ended" };
    }
    return localReason(CloseCode.OK);
  }
}

/** Two connections with one stream each, in memory, that behave as over TCP. */
export function singleStreamPair(options: MemoryOptions): {
  client: OwnedConnection;
  server: OwnedConnection;
} {
  const { alpn, serverName, window = 65_536, drain, clock } = options;
  let bytes = 0;
  const streams = memoryStreams(
    window,
    () => {},
    (count) => (bytes += count),
    () => new ConnectionClosed(transportReason("CUT", "connection reset")),
  );
  const end = (side: "client" | "server"): SingleStreamConnection =>
    new SingleStreamConnection({
      ...options[side],
      side,
      stream: side === "client" ? streams[0] : streams[1],
      alpn,
      transport: "memory",
      remoteAddress: undefined,
      serverName,
      cut: () => {},
      moved: () => bytes,
      drain,
      clock,
    });
  return { client: end("client"), server: end("server") };
}

/** The error of a transport that failed, in our words; `undefined` for one of our own. */
function lossOf(error: Error): ConnectionClosed | undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return undefined;
  if (/^E(CONN|PIPE|TIMEDOUT|HOST|NET)/.test(code)) return lost("CUT", error.message, error);
  if (/^ERR_(SSL|TLS)_/.test(code)) return lost("TLS", error.message, error);
  return undefined;
}

function lost(name: string, reason: string, cause: Error): ConnectionClosed {
  return closedBy(transportReason(name, reason), cause);
}

function closedBy(reason: CloseReason, cause?: Error): ConnectionClosed {
  return withoutStack(
    () => new ConnectionClosed(reason, cause === undefined ? undefined : { cause }),
  );
}
