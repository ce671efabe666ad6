/**
 * A QUIC connection: streams both ways, datagrams, keying material, one reason for its end.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { checkInteger, MAX_CODE } from "./check-integer.ts";
import { type QuicCloseReason, QuicConnectionClosed } from "./close-reason.ts";
import { isolated } from "./isolated.ts";
import { MAX_WRITE, native } from "./native.ts";
import { type QuicStream, RawStream, type StreamHost, streamEvents } from "./stream.ts";

/** A signal that ends a wait. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

/** Figures of a connection. Times in milliseconds, sizes in bytes. */
export interface QuicStatistics {
  /** Smoothed round-trip time. */
  rtt: number;
  /** UDP payload that the path takes. */
  mtu: number;
  congestionWindow: number;
  lostPackets: number;
  sentPackets: number;
  congestionEvents: number;
  bytesSent: number;
  bytesReceived: number;
  datagramsSent: number;
  datagramsReceived: number;
  /** How often the peer's address changed. */
  pathChanges: number;
  /** Since the last datagram for this connection came, or since it was made; from whomever. */
  silence: number;
}

/** New bounds for a connection; what is absent stays. */
export interface QuicLimits {
  /** Most streams each way that the peer may ever have open; the engine raises its limit with use. */
  maxStreams?: number | undefined;
  /** Bytes in flight to us on all streams together. */
  receiveWindow?: number | undefined;
  /** Most bytes that writes may buffer here. */
  sendWindow?: number | undefined;
}

/** What a connection needs of its endpoint. */
export interface ConnectionHost {
  readonly endpoint: number;
  resetCodeOf(error: Error | null): number;
  addStream(stream: RawStream): void;
  keepStream(stream: RawStream): void;
  reconsiderStream(stream: RawStream): void;
  loosenStream(stream: RawStream): void;
  /** False: it was forgotten already, or never known. */
  forgetStream(stream: RawStream): boolean;
  streamById(id: number): RawStream | undefined;
  keepConnection(connection: QuicConnection): void;
  loosenConnection(connection: QuicConnection): void;
  /** Nobody waits now: ask again, by `settled`, when whoever wants it had the time to say so. */
  reconsiderConnection(connection: QuicConnection): void;
  /** Call `end` when the connection ends after it was collected. */
  endConnectionWith(connection: QuicConnection, end: (reason: QuicCloseReason) => void): void;
  /** It has ended, and no stream of it is left. */
  forgetConnection(connection: QuicConnection): void;
}

/** What the engine tells of connections; for the endpoint alone. */
export interface ConnectionEvents {
  create(
    host: ConnectionHost,
    id: number,
    side: "client" | "server",
    handshake: number,
  ): QuicConnection;
  streamOpened(connection: QuicConnection, id: number, unidirectional: boolean): void;
  available(connection: QuicConnection, unidirectional: boolean): void;
  datagram(connection: QuicConnection, data: Buffer): void;
  /** Every stream that was ended has been acknowledged. */
  flushed(connection: QuicConnection): void;
  /** The peer has acknowledged something. */
  pong(connection: QuicConnection): void;
  closed(connection: QuicConnection, reason: QuicCloseReason): void;
  /** A stream was collected. */
  streamDropped(connection: QuicConnection): void;
  /** The endpoint is gone: `closed` resolves, and nothing else happens any more. */
  detached(connection: QuicConnection): void;
  /** Some time has passed since the connection was made: whoever wants it holds it by now. */
  settled(connection: QuicConnection): void;
  idOf(connection: QuicConnection): number;
}
export let connectionEvents: ConnectionEvents;

type Waiter = (stream: RawStream | undefined) => void;

/** One direction's waits, `0` bidirectional and `1` unidirectional. */
interface Direction {
  /** Streams of the peer that nobody took yet; the peer's limit bounds them. */
  arrived: RawStream[];
  waiters: Waiter[];
  /** Streams of ours that wait for the peer's limit. */
  opening: RawStream[];
}

/** Streams that may wait for the peer's limit at once, each way. */
const MAX_OPENING = 65_536;
/** Most streams each way that a peer may ever be allowed: their slots are memory. */
const MAX_STREAMS = 2 ** 20;
const MAX_WINDOW = 2 ** 40;
const MAX_MATERIAL = 255 * 32;
/** Longest close reason that is sent, in bytes: it must fit a packet. */
const MAX_REASON = 512;
const NOTHING = new Uint8Array(0);

/** Bytes of `connectionInfo` before its texts. */
const INFO_TEXTS = 6;
/** Of a connection that the engine does not know any more. */
const NO_INFO = "\0".repeat(INFO_TEXTS);

function certificateStart(info: string): number {
  return INFO_TEXTS + info.charCodeAt(2) + info.charCodeAt(3) + info.charCodeAt(4);
}

function remoteOf(info: string): { address: string; port: number } {
  return {
    address: info.slice(INFO_TEXTS, INFO_TEXTS + info.charCodeAt(2)),
    port: info.charCodeAt(0) * 256 + info.charCodeAt(1),
  };
}

/**
 * In a turn of its own, and not as the stream comes: what has happened to it meanwhile is an event after
 * the one who asked for it could listen, as Node has its ticks before its promises.
 */
function toDuplex(stream: RawStream): QuicStream {
  return stream.toDuplex();
}

function toDuplexIfAny(stream: RawStream | undefined): QuicStream | undefined {
  return stream?.toDuplex();
}

function isAwaited(direction: Direction | undefined): boolean {
  if (direction === undefined) return false;
  return direction.opening.length > 0 || direction.waiters.length > 0;
}

export class QuicConnection implements AsyncDisposable {
  readonly #host: ConnectionHost;
  readonly #id: number;
  readonly #side: "client" | "server";
  readonly #handshake: number;
  /** See `connectionInfo`; of the handshake. */
  readonly #info: string;
  #peerCertificate: Buffer | undefined;
  #remote: { address: string; port: number } | undefined;
  // What follows is made when it is needed: a connection that is closed at once needs none of it.
  #both: Direction | undefined;
  #uni: Direction | undefined;
  #streamCount = 0;
  #madeStreamHost: StreamHost | undefined;
  /** Streams whose end the engine has not taken yet. */
  #unsent = 0;
  #flushWaiters: (() => void)[] = [];
  #pong: PromiseWithResolvers<boolean> | undefined;
  #closeReason: QuicCloseReason | undefined;
  #closed: PromiseWithResolvers<QuicCloseReason> | undefined;
  #onstream: ((stream: RawStream, unidirectional: boolean) => void) | undefined;
  #ondatagram: ((data: Buffer) => void) | undefined;
  #kept = true;
  /** `settled` will come; it does for every new connection. */
  #reconsidered = true;

  private constructor(
    host: ConnectionHost,
    id: number,
    side: "client" | "server",
    handshake: number,
  ) {
    this.#host = host;
    this.#id = id;
    this.#side = side;
    this.#handshake = handshake;
    this.#info = native.connectionInfo(host.endpoint, id) ?? NO_INFO;
  }

  get side(): "client" | "server" {
    return this.#side;
  }

  /** The number that `admit` had; 0 on the dialing side. */
  get handshake(): number {
    return this.#handshake;
  }

  /** The protocol that the handshake chose. */
  get alpn(): string {
    const start = INFO_TEXTS + this.#info.charCodeAt(2);
    return this.#info.slice(start, start + this.#info.charCodeAt(3));
  }

  /** SNI, on the server's side. */
  get serverName(): string | undefined {
    const start = INFO_TEXTS + this.#info.charCodeAt(2) + this.#info.charCodeAt(3);
    return this.#info.slice(start, start + this.#info.charCodeAt(4)) || undefined;
  }

  /** The peer's leaf, DER; its SubjectPublicKeyInfo when `peerCertificateType` is `raw`. */
  get peerCertificate(): Buffer | undefined {
    if (!this.#hasCertificate()) return undefined;
    return (this.#peerCertificate ??= Buffer.from(
      this.#info.slice(certificateStart(this.#info)),
      "latin1",
    ));
  }

  get peerCertificateType(): "x509" | "raw" | undefined {
    if (!this.#hasCertificate()) return undefined;
    return this.#info.charCodeAt(5) === 1 ? "raw" : "x509";
  }

  #hasCertificate(): boolean {
    return this.#info.length > certificateStart(this.#info);
  }

  /** Where the peer is now: it moves when the peer's address changes. */
  get remoteAddress(): string {
    return this.#refreshRemote().address;
  }

  get remotePort(): number {
    return this.#refreshRemote().port;
  }

  /** Streams of this connection that are not done. */
  get streamCount(): number {
    return this.#streamCount;
  }

  /** Resolves, never rejects. */
  get closed(): Promise<QuicCloseReason> {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers<QuicCloseReason>();
      if (this.#closeReason !== undefined) this.#closed.resolve(this.#closeReason);
      else if (this.#host.endpoint === 0) this.#closed.resolve({ kind: "dropped" });
      else this.#host.endConnectionWith(this, this.#closed.resolve);
    }
    return this.#closed.promise;
  }

  /** The next stream that the peer opened; `undefined` once the connection has ended. */
  accept(options: WaitOptions = {}): Promise<QuicStream | undefined> {
    return this.#accept(0, options).then(toDuplexIfAny);
  }

  /** The next unidirectional one: readable only. */
  acceptUni(options: WaitOptions = {}): Promise<QuicStream | undefined> {
    return this.#accept(1, options).then(toDuplexIfAny);
  }

  /**
   * Open a stream; waits for the peer's limit. The peer sees it with its first byte.
   *
   * @throws {QuicConnectionClosed} if the connection has ended.
   */
  open(options: WaitOptions = {}): Promise<QuicStream> {
    return this.#open(false, options).then(toDuplex);
  }

  /** Open one that only we write to. */
  openUni(options: WaitOptions = {}): Promise<QuicStream> {
    return this.#open(true, options).then(toDuplex);
  }

  /**
   * Open, write and end in one crossing. Where the peer's limit is reached, the stream keeps the data
   * and opens by itself; `write` returns false meanwhile.
   *
   * @throws {QuicConnectionClosed} if the connection has ended.
   */
  openRaw(data: Uint8Array = NOTHING, fin: boolean = false): RawStream {
    return this.#openRaw(false, data, fin);
  }

  openRawUni(data: Uint8Array = NOTHING, fin: boolean = false): RawStream {
    return this.#openRaw(true, data, fin);
  }

  /** Takes the peer's streams as they come, instead of `accept`. */
  get onstream(): ((stream: RawStream, unidirectional: boolean) => void) | undefined {
    return this.#onstream;
  }

  set onstream(listener: ((stream: RawStream, unidirectional: boolean) => void) | undefined) {
    this.#onstream = listener;
    this.#update();
    if (listener === undefined) return;
    for (const index of [0, 1] as const) {
      const arrived = this.#directionIfAny(index)?.arrived.splice(0) ?? [];
      for (const stream of arrived) listener(stream, index === 1);
    }
  }

  /** Takes datagrams as they come (RFC 9221); without it they are dropped. */
  get ondatagram(): ((data: Buffer) => void) | undefined {
    return this.#ondatagram;
  }

  set ondatagram(listener: ((data: Buffer) => void) | undefined) {
    this.#ondatagram = listener;
    this.#update();
  }

  /** Queue a datagram. False: it does not fit, the peer takes none, or the connection has ended. */
  sendDatagram(data: Uint8Array): boolean {
    return (
      this.#closeReason === undefined && native.sendDatagram(this.#host.endpoint, this.#id, data)
    );
  }

  /** Longest datagram that fits now, in bytes; 0 when the peer takes none. */
  get maxDatagramSize(): number {
    return this.#closeReason === undefined ? native.maxDatagram(this.#host.endpoint, this.#id) : 0;
  }

  setLimits(limits: QuicLimits): void {
    if (this.#closeReason !== undefined) return;
    const { maxStreams = -1, receiveWindow = -1, sendWindow = -1 } = limits;
    checkInteger("set limits", "maxStreams", maxStreams, -1, MAX_STREAMS);
    checkInteger("set limits", "receiveWindow", receiveWindow, -1, MAX_WINDOW);
    checkInteger("set limits", "sendWindow", sendWindow, -1, MAX_WINDOW);
    native.setLimits(this.#host.endpoint, this.#id, maxStreams, receiveWindow, sendWindow);
  }

  /**
   * RFC 5705 and RFC 8446 §7.5; the same on both sides.
   *
   * @param length in bytes, at most 8,160: 255 hashes (RFC 8446 §7.1)
   * @throws {QuicConnectionClosed} if the connection has ended.
   */
  exportKeyingMaterial(label: string, context: Uint8Array | undefined, length: number): Buffer {
    checkInteger("export keying material", "length", length, 0, MAX_MATERIAL);
    const { endpoint } = this.#host;
    const material =
      this.#closeReason === undefined
        ? native.exportKeyingMaterial(
            endpoint,
            this.#id,
            Buffer.from(label),
            context ?? NOTHING,
            length,
          )
        : null;
    if (material === null) throw new QuicConnectionClosed(this.#reason());
    return material;
  }

  /** Zeros once the connection has ended and its state is gone. */
  stats(): QuicStatistics {
    const { endpoint } = this.#host;
    // 0: the endpoint is gone, too.
    const figures = (endpoint === 0 ? null : native.statistics(endpoint, this.#id)) ?? [];
    return {
      rtt: figures[0] ?? 0,
      mtu: figures[1] ?? 0,
      congestionWindow: figures[2] ?? 0,
      lostPackets: figures[3] ?? 0,
      sentPackets: figures[4] ?? 0,
      congestionEvents: figures[5] ?? 0,
      bytesSent: figures[6] ?? 0,
      bytesReceived: figures[7] ?? 0,
      datagramsSent: figures[8] ?? 0,
      datagramsReceived: figures[9] ?? 0,
      pathChanges: figures[10] ?? 0,
      silence: figures[11] ?? 0,
    };
  }

  /** Resolves when every stream that was ended has been acknowledged, or the connection has ended. */
  flushed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#flushWaiters.push(resolve);
    this.#update();
    this.#checkFlush();
    return promise;
  }

  /**
   * Ask for a sign of life (PING, RFC 9000 §19.2). Asks that are under way at once have one answer.
   *
   * @returns true at the first packet of the peer from now on that acknowledges anything; false if the
   *   connection ends first.
   */
  ping(): Promise<boolean> {
    if (this.#pong === undefined) {
      if (this.#closeReason !== undefined || !native.ping(this.#host.endpoint, this.#id)) {
        return Promise.resolve(false);
      }
      this.#pong = Promise.withResolvers();
      this.#update();
    }
    return this.#pong.promise;
  }

  #settlePong(answered: boolean): void {
    this.#pong?.resolve(answered);
    this.#pong = undefined;
    this.#update();
  }

  /**
   * Close now; what is not acknowledged may be lost. See {@linkcode flushed}.
   *
   * Once the peer has closed, this lets go of what nobody has read yet.
   *
   * @param reason at most 512 bytes of it are sent
   */
  close(code: number = 0, reason: string = ""): void {
    checkInteger("close", "code", code, 0, MAX_CODE);
    if (this.#closeReason !== undefined) {
      this.#discard();
      return;
    }
    const text = reason === "" ? NOTHING : Buffer.from(reason).subarray(0, MAX_REASON);
    const streams = this.#streamIds();
    native.close(this.#host.endpoint, this.#id, code, text);
    this.#end({ kind: "application", by: "local", code, reason }, streams, true);
  }

  /** Give up what the peer sent before it closed. */
  #discard(): void {
    // 0: the endpoint is gone, and has let go of everything. A stream that was collected while it went is counted still.
    if (this.#streamCount === 0 || this.#host.endpoint === 0) return;
    this.#endStreams(native.streamIds(this.#host.endpoint, this.#id), true);
    this.#host.forgetConnection(this);
  }

  /** `flushed()`, then `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.flushed();
    this.close();
  }

  #refreshRemote(): { address: string; port: number } {
    if (this.#closeReason === undefined) {
      const info = native.connectionInfo(this.#host.endpoint, this.#id);
      if (info !== null) this.#remote = remoteOf(info);
    }
    return (this.#remote ??= remoteOf(this.#info));
  }

  /** Streams that somebody here knows, by the engine's numbers. */
  #streamIds(): Iterable<number> {
    return this.#streamCount === 0 ? [] : native.streamIds(this.#host.endpoint, this.#id);
  }

  #direction(index: 0 | 1): Direction {
    const direction = { arrived: [], waiters: [], opening: [] };
    return index === 0 ? (this.#both ??= direction) : (this.#uni ??= direction);
  }

  #directionIfAny(index: 0 | 1): Direction | undefined {
    return index === 0 ? this.#both : this.#uni;
  }

  get #streamHost(): StreamHost {
    return (this.#madeStreamHost ??= this.#makeStreamHost());
  }

  #reason(): QuicCloseReason {
    return this.#closeReason ?? { kind: "internal", reason: "not connected" };
  }

  #makeStreamHost(): StreamHost {
    const host = this.#host;
    // No getters: a literal that has one is a dictionary to V8, and this is asked several times for each stream.
    return {
      endpoint: host.endpoint,
      closeReason: () => this.#closeReason,
      streams: () => this.#streamCount,
      resetCodeOf: (error) => host.resetCodeOf(error),
      keep: (stream) => host.keepStream(stream),
      adopt: (stream) => this.#adopt(stream),
      connectionId: this.#id,
      reconsider: (stream) => host.reconsiderStream(stream),
      loosen: (stream) => host.loosenStream(stream),
      forget: (stream) => {
        if (host.forgetStream(stream)) this.#lostStream();
      },
      unsent: (change) => {
        this.#unsent += change;
        this.#checkFlush();
      },
      cancelOpen: (stream) => {
        for (const direction of [this.#both, this.#uni]) {
          const at = direction?.opening.indexOf(stream) ?? -1;
          if (at >= 0) direction?.opening.splice(at, 1);
        }
        this.#update();
      },
    };
  }

  /** First everything must be with the engine, then with the peer; the engine tells of that by itself. */
  #checkFlush(): void {
    if (this.#flushWaiters.length === 0) return;
    if (this.#closeReason === undefined) {
      if (this.#unsent > 0 || native.flushStreams(this.#host.endpoint, this.#id)) return;
    }
    this.#settleFlush();
  }

  #settleFlush(): void {
    if (this.#flushWaiters.length === 0) return;
    const waiters = this.#flushWaiters.splice(0);
    for (const resolve of waiters) resolve();
    this.#update();
  }

  #accept(index: 0 | 1, { signal }: WaitOptions): Promise<RawStream | undefined> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    const direction = this.#direction(index);
    const stream = direction.arrived.shift();
    if (stream !== undefined || this.#closeReason !== undefined) return Promise.resolve(stream);
    const { promise, resolve, reject } = Promise.withResolvers<RawStream | undefined>();
    if (signal === undefined) {
      direction.waiters.push(resolve);
    } else {
      const waiter = (arrived: RawStream | undefined): void => {
        signal.removeEventListener("abort", onabort);
        resolve(arrived);
      };
      const onabort = (): void => {
        const at = direction.waiters.indexOf(waiter);
        if (at >= 0) direction.waiters.splice(at, 1);
        this.#update();
        reject(signal.reason as Error);
      };
      direction.waiters.push(waiter);
      signal.addEventListener("abort", onabort, { once: true });
    }
    this.#update();
    return promise;
  }

  #open(unidirectional: boolean, { signal }: WaitOptions): Promise<RawStream> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    return new Promise<RawStream>((resolve, reject) => {
      const stream = this.#openRaw(unidirectional, NOTHING, false);
      if (stream.id !== 0) {
        resolve(stream);
        return;
      }
      const done = (): void => signal?.removeEventListener("abort", onabort);
      const onabort = (): void => {
        done();
        stream.reset(0);
        stream.stop(0);
        reject(signal?.reason as Error);
      };
      stream.ondrain = () => {
        done();
        resolve(stream);
      };
      stream.onclose = (reason) => {
        done();
        reject(new QuicConnectionClosed(reason));
      };
      signal?.addEventListener("abort", onabort, { once: true });
    });
  }

  #openRaw(unidirectional: boolean, data: Uint8Array, fin: boolean): RawStream {
    if (this.#closeReason !== undefined) throw new QuicConnectionClosed(this.#closeReason);
    const opening = this.#directionIfAny(unidirectional ? 1 : 0)?.opening.length ?? 0;
    // What fits one write goes with it: a request is one crossing.
    const together = data.length <= MAX_WRITE;
    const answer =
      opening > 0
        ? -1
        : native.open(
            this.#host.endpoint,
            this.#id,
            unidirectional,
            together ? data : NOTHING,
            together && fin,
          );
    if (answer === -2) throw new QuicConnectionClosed(this.#reason());
    if (answer === -1) return this.#openLater(unidirectional, data, fin);
    const taken = Math.floor(answer / 2 ** 32);
    const stream = new RawStream(this.#streamHost, answer % 2 ** 32, !unidirectional, true);
    this.#adopt(stream);
    if (!together) stream.write(data, fin);
    else if (data.length > 0 || fin) streamEvents.wrote(stream, data, taken, fin);
    return stream;
  }

  #openLater(unidirectional: boolean, data: Uint8Array, fin: boolean): RawStream {
    const { opening } = this.#direction(unidirectional ? 1 : 0);
    if (opening.length >= MAX_OPENING) {
      throw Object.assign(
        new Error(`cannot open a stream: ${MAX_OPENING} wait for the peer's limit already`),
        { code: "QUIC_STREAM_LIMIT" },
      );
    }
    const stream = new RawStream(this.#streamHost, 0, !unidirectional, true);
    opening.push(stream);
    this.#update();
    if (data.length > 0 || fin) stream.write(data, fin);
    return stream;
  }

  #lostStream(): void {
    this.#streamCount -= 1;
    if (this.#streamCount === 0 && this.#closeReason !== undefined) {
      this.#host.forgetConnection(this);
    }
  }

  #adopt(stream: RawStream): void {
    this.#streamCount += 1;
    this.#host.addStream(stream);
  }

  /** Not at once: who takes streams one by one waits for the next one soon, mostly in the same batch. */
  #reconsider(): void {
    if (this.#reconsidered) return;
    this.#reconsidered = true;
    this.#host.reconsiderConnection(this);
  }

  /** Somebody waits for something of this connection: keep it from being collected. */
  #update(): void {
    const awaited =
      this.#closeReason === undefined &&
      (this.#onstream !== undefined ||
        this.#ondatagram !== undefined ||
        isAwaited(this.#both) ||
        isAwaited(this.#uni) ||
        this.#flushWaiters.length > 0 ||
        this.#pong !== undefined);
    if (awaited === this.#kept) return;
    this.#kept = awaited;
    if (awaited) this.#host.keepConnection(this);
    else this.#host.loosenConnection(this);
  }

  #end(reason: QuicCloseReason, streams: Iterable<number>, all: boolean): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    for (const direction of [this.#both, this.#uni]) {
      if (direction === undefined) continue;
      for (const stream of direction.opening.splice(0)) {
        isolated(() => streamEvents.connectionClosed(stream, true));
      }
      // Streams that arrived can be taken still; who waits for more gets none.
      for (const waiter of direction.waiters.splice(0)) waiter(undefined);
    }
    this.#endStreams(streams, all);
    this.#settleFlush();
    this.#settlePong(false);
    this.#closed?.resolve(reason);
    // Not loosened first: what is forgotten needs no watch over its collection.
    if (this.#streamCount === 0) this.#host.forgetConnection(this);
    else this.#update();
  }

  #endStreams(ids: Iterable<number>, all: boolean): void {
    if (all) {
      if (this.#both !== undefined) this.#both.arrived.length = 0;
      if (this.#uni !== undefined) this.#uni.arrived.length = 0;
    }
    for (const id of ids) {
      const stream = this.#host.streamById(id);
      if (stream !== undefined) isolated(() => streamEvents.connectionClosed(stream, all));
    }
  }

  static {
    connectionEvents = {
      create(host, id, side, handshake) {
        return new QuicConnection(host, id, side, handshake);
      },
      streamOpened(connection, id, unidirectional) {
        const stream = new RawStream(connection.#streamHost, id, true, !unidirectional);
        connection.#adopt(stream);
        if (connection.#onstream !== undefined) {
          connection.#onstream(stream, unidirectional);
          return;
        }
        const direction = connection.#direction(unidirectional ? 1 : 0);
        const waiter = direction.waiters.shift();
        if (waiter === undefined) {
          direction.arrived.push(stream);
          return;
        }
        waiter(stream);
        connection.#reconsider();
      },
      available(connection, unidirectional) {
        const opening = connection.#directionIfAny(unidirectional ? 1 : 0)?.opening ?? [];
        while (opening.length > 0) {
          const id = native.open(
            connection.#host.endpoint,
            connection.#id,
            unidirectional,
            NOTHING,
            false,
          );
          if (id < 0) break;
          const stream = opening.shift()!;
          isolated(() => streamEvents.opened(stream, id % 2 ** 32));
        }
        connection.#update();
      },
      flushed(connection) {
        connection.#checkFlush();
      },
      pong(connection) {
        connection.#settlePong(true);
      },
      datagram(connection, data) {
        connection.#ondatagram?.(data);
      },
      closed(connection, reason) {
        const streams = connection.#streamIds();
        // After a fault on this side there is nothing to read any more.
        connection.#end(reason, streams, reason.kind === "internal");
      },
      streamDropped(connection) {
        connection.#lostStream();
      },
      settled(connection) {
        connection.#reconsidered = false;
        connection.#update();
      },
      detached(connection) {
        connection.#closed?.resolve({ kind: "dropped" });
      },
      idOf(connection) {
        return connection.#id;
      },
    };
  }
}
