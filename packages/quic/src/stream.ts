/**
 * QUIC streams: raw, as callbacks over what the engine says, and as Node `Duplex` above that.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { checkInteger, MAX_CODE } from "./check-integer.ts";
import { type QuicCloseReason, QuicConnectionClosed } from "./close-reason.ts";
import { MAX_WRITE, native } from "./native.ts";

/** The peer reset the stream (RESET_STREAM): what it had not delivered is lost. */
export class QuicStreamReset extends Error {
  override readonly name = "QuicStreamReset";
  readonly code = "QUIC_STREAM_RESET";
  readonly resetCode: number;

  constructor(resetCode: number) {
    super(`stream reset by the peer with code ${resetCode}`);
    this.resetCode = resetCode;
  }
}

/** The peer reads no more of this stream (STOP_SENDING). */
export class QuicStreamStopped extends Error {
  override readonly name = "QuicStreamStopped";
  readonly code = "QUIC_STREAM_STOPPED";
  readonly stopCode: number;

  constructor(stopCode: number) {
    super(`stream stopped by the peer with code ${stopCode}`);
    this.stopCode = stopCode;
  }
}

/** What a stream needs of the connection it belongs to. */
export interface StreamHost {
  /** The engine's number of the endpoint. */
  readonly endpoint: number;
  /** The engine's number of the connection. */
  readonly connectionId: number;
  closeReason(): QuicCloseReason | undefined;
  /** Streams that are open, of both sides. */
  streams(): number;
  resetCodeOf(error: Error | null): number;
  /** Something will happen to the stream that somebody waits for: keep it from being collected. */
  keep(stream: RawStream): void;
  /** Nobody waits now: ask again, by `settled`, when whoever wants it had the time to say so. */
  reconsider(stream: RawStream): void;
  /** Nobody waits: it lives as long as its user holds it. */
  loosen(stream: RawStream): void;
  /** It has its number, and the engine will tell of it. */
  adopt(stream: RawStream): void;
  /** Both sides are done. */
  forget(stream: RawStream): void;
  /** One more (1) or one fewer (-1) stream whose end the engine has not taken yet. */
  unsent(change: 1 | -1): void;
  /** A stream that was waiting for the peer's limit is wanted no more. */
  cancelOpen(stream: RawStream): void;
}

/** What the engine tells of streams; for the endpoint alone. */
export interface StreamEvents {
  /** It waited for the peer's limit. */
  opened(stream: RawStream, id: number): void;
  /** It was opened with `data`, of which `taken` bytes went. */
  wrote(stream: RawStream, data: Uint8Array, taken: number, fin: boolean): void;
  data(stream: RawStream, data: Buffer, fin: boolean): void;
  reset(stream: RawStream, code: number): void;
  stopped(stream: RawStream, code: number): void;
  writable(stream: RawStream): void;
  finished(stream: RawStream): void;
  /** The connection has ended, and this stream has nothing left to read. */
  lost(stream: RawStream): void;
  /** The connection has ended: nothing more can be written, and, when `all`, nothing read. */
  connectionClosed(stream: RawStream, all: boolean): void;
  /** Some time has passed since the stream was made: whoever wants it holds it by now. */
  settled(stream: RawStream): void;
  connectionIdOf(stream: RawStream): number;
}
export let streamEvents: StreamEvents;

/**
 * One of a list, and a class rather than a literal in an array: where V8 finds many literals of a place alive it
 * makes the later ones old at once, and what they held then stays until the next full collection. That was
 * half of the time of a request.
 */
class Chunk<Data> {
  data: Data;
  readonly fin: boolean;
  next: Chunk<Data> | undefined = undefined;

  constructor(data: Data, fin: boolean) {
    this.data = data;
    this.fin = fin;
  }
}

const NOTHING: Buffer = Buffer.alloc(0);

/**
 * A stream without a `Duplex` around it: callbacks, and writes that say whether they were taken.
 *
 * Bytes flow once `ondata` is set, until `pause()`. A stream that nobody holds and on which nothing is
 * awaited is collected, and then reset and stopped with code 0.
 */
export class RawStream {
  #id: number;
  readonly #host: StreamHost;
  readonly #readable: boolean;
  readonly #writable: boolean;
  /** The peer has not ended its side. */
  #receiving: boolean;
  /** The engine has not taken our end. */
  #sending: boolean;
  /** Our end is asked for. */
  #ended = false;
  /** Bytes are wanted. */
  #flowing = false;
  /**
   * The engine gives the first few bytes unasked, which is all that most requests have: one call less.
   * After them it wants to be asked.
   */
  #tasted = false;
  #claimed = false;
  /** Not opened yet: the peer's limit is reached. */
  #opening: boolean;
  /** Held by the endpoint. */
  #kept = true;
  /** `settled` will come; it does for every new stream. */
  #reconsidered = true;
  /** An acknowledgement is awaited. */
  #watched = false;
  /** Writes that were not taken yet. */
  #pending: Chunk<Uint8Array> | undefined;
  #lastPending: Chunk<Uint8Array> | undefined;
  /** What came before anybody wanted it: one batch at most. */
  #early: Chunk<Buffer> | undefined;
  /** The connection ended first: `onclose` is due when what had come is delivered. */
  #cut = false;
  #stopCode: number | undefined;
  #resetCode: number | undefined;
  /** Code of a `stop` before the stream was open. */
  #stopWith = 0;
  #ondata: ((data: Buffer, fin: boolean) => void) | undefined;
  #onfinished: (() => void) | undefined;

  /** After a `write` that returned false: everything was taken. */
  ondrain: (() => void) | undefined = undefined;
  /** RESET_STREAM by the peer, with its code. */
  onreset: ((code: number) => void) | undefined = undefined;
  /** STOP_SENDING by the peer, with its code; our side has been reset. */
  onstop: ((code: number) => void) | undefined = undefined;
  /** The connection ended before our side did: no more can be written, what has come can be read. */
  oncut: ((reason: QuicCloseReason) => void) | undefined = undefined;
  /** The connection ended before the stream did; what had come was delivered. */
  onclose: ((reason: QuicCloseReason) => void) | undefined = undefined;

  /** @param id 0 while the stream waits for the peer's limit */
  constructor(host: StreamHost, id: number, readable: boolean, writable: boolean) {
    this.#host = host;
    this.#id = id;
    this.#readable = readable;
    this.#writable = writable;
    this.#receiving = readable;
    this.#sending = writable;
    this.#opening = id === 0;
  }

  /** The engine's number of this stream, for logs; 0 while it waits for the peer's limit. */
  get id(): number {
    return this.#id;
  }

  get readable(): boolean {
    return this.#readable;
  }

  get writable(): boolean {
    return this.#writable;
  }

  /** The peer may still send. */
  get receiving(): boolean {
    return this.#receiving;
  }

  /** We may still write. */
  get sending(): boolean {
    return this.#sending && !this.#ended;
  }

  /** Code of the peer's STOP_SENDING, once it has come. */
  get stopCode(): number | undefined {
    return this.#stopCode;
  }

  /** Code of the peer's RESET_STREAM, once it has come; bytes must flow for that. */
  get resetCode(): number | undefined {
    return this.#resetCode;
  }

  /** The connection ended before the stream did, and nothing that came is left to read. */
  get isCut(): boolean {
    return this.#cut && !this.#receiving && this.#early === undefined;
  }

  /** Bytes as they come; a view that may be kept. Setting it starts the flow. */
  get ondata(): ((data: Buffer, fin: boolean) => void) | undefined {
    return this.#ondata;
  }

  set ondata(listener: ((data: Buffer, fin: boolean) => void) | undefined) {
    this.#ondata = listener;
    if (listener === undefined) this.pause();
    else this.resume();
  }

  /** Our FIN and all before it were acknowledged. Set it before the end is sent. */
  get onfinished(): (() => void) | undefined {
    return this.#onfinished;
  }

  set onfinished(listener: (() => void) | undefined) {
    this.#onfinished = listener;
    if (listener === undefined || this.#watched || !this.#sending) return;
    this.#watched = true;
    if (!this.#opening) native.watch(this.#host.endpoint, this.#id);
  }

  /**
   * Queue `data`, and with `fin` the end of our side.
   *
   * @returns false when some of it is kept back, as a view: leave `data` alone, and wait for `ondrain`
   *   before the next write.
   * @throws {QuicConnectionClosed | Error} if our side has ended (`QUIC_STREAM_ENDED`).
   */
  write(data: Uint8Array, fin: boolean = false): boolean {
    if (!this.#sending || this.#ended) throw this.#notWritable();
    if (this.#pending !== undefined || this.#opening) {
      this.#keepBack(data, fin);
      return false;
    }
    // Negative: our side is over in the engine, and the record that says why is on its way.
    return this.#took(data, Math.max(this.#push(data, fin), 0), fin);
  }

  /** `write` with the end of our side. */
  end(data: Uint8Array = NOTHING): boolean {
    return this.write(data, true);
  }

  /** Give up our side (RESET_STREAM). What is not yet delivered may be lost. */
  reset(code: number): void {
    checkInteger("reset the stream", "code", code, 0, MAX_CODE);
    // Also after the end: until it is acknowledged, the engine can take it back. Once all is done the
    // number may be another stream's.
    if (!this.#writable || this.#isDone()) return;
    if (this.#opening) {
      // The peer never hears of it, so that nothing will come either.
      this.#host.cancelOpen(this);
      this.#opening = false;
      this.#receiving = false;
    } else {
      native.reset(this.#host.endpoint, this.#id, code);
    }
    this.#sendingFailed();
  }

  /** Give up the peer's side (STOP_SENDING). */
  stop(code: number): void {
    checkInteger("stop the stream", "code", code, 0, MAX_CODE);
    this.#early = undefined;
    if (!this.#receiving) return;
    if (this.#opening) this.#stopWith = code;
    else native.stop(this.#host.endpoint, this.#id, code);
    this.#receiving = false;
    this.#update();
  }

  pause(): void {
    if (!this.#flowing) return;
    this.#flowing = false;
    if (this.#claimed && this.#receiving) native.flow(this.#host.endpoint, this.#id, false);
    this.#update();
  }

  resume(): void {
    if (this.#flowing || this.#ondata === undefined) return;
    this.#flowing = true;
    this.#update();
    while (this.#early !== undefined && this.#flowing) {
      const { data, fin, next } = this.#early;
      this.#early = next;
      this.#ondata(data, fin);
    }
    if (this.#flowing) this.#claim();
    this.#tellCut();
  }

  /** A `Duplex` over this stream, which then owns its callbacks. */
  toDuplex(): QuicStream {
    return new QuicStream(this, this.#host);
  }

  /** Ask for what follows the first few bytes. */
  #claim(): void {
    if (!this.#tasted || !this.#receiving) return;
    this.#claimed = true;
    native.flow(this.#host.endpoint, this.#id, true);
  }

  /** Bytes taken, all of `data` (and the FIN) or what fits; negative once nothing is taken ever more. */
  #push(data: Uint8Array, fin: boolean): number {
    const { endpoint } = this.#host;
    if (data.length <= MAX_WRITE) return native.write(endpoint, this.#id, data, fin);
    for (let offset = 0; ;) {
      const part = data.subarray(offset, offset + MAX_WRITE);
      const last = offset + part.length === data.length;
      const taken = native.write(endpoint, this.#id, part, last && fin);
      if (taken < 0) return taken;
      offset += taken;
      if (last || taken < part.length) return offset;
    }
  }

  #took(data: Uint8Array, taken: number, fin: boolean): boolean {
    if (taken < data.length) {
      this.#keepBack(data.subarray(taken), fin);
      return false;
    }
    if (fin) {
      this.#ended = true;
      this.#sending = false;
      this.#update();
    }
    return true;
  }

  #keepBack(data: Uint8Array, fin: boolean): void {
    const chunk = new Chunk(data, fin);
    if (this.#lastPending === undefined) this.#pending = chunk;
    else this.#lastPending.next = chunk;
    this.#lastPending = chunk;
    if (fin) {
      this.#ended = true;
      this.#host.unsent(1);
    }
    this.#update();
  }

  #keepEarly(chunk: Chunk<Buffer>): void {
    let last = this.#early;
    if (last === undefined) {
      this.#early = chunk;
      return;
    }
    // One batch has few of a stream.
    while (last.next !== undefined) last = last.next;
    last.next = chunk;
  }

  #flush(): void {
    for (let first = this.#pending; first !== undefined; first = first.next) {
      const taken = this.#push(first.data, first.fin);
      // Our side is over in the engine, and the record that says why is on its way.
      if (taken < 0) return;
      if (taken < first.data.length) {
        first.data = first.data.subarray(taken);
        return;
      }
      this.#pending = first.next;
      if (first.fin) {
        this.#sending = false;
        this.#host.unsent(-1);
      }
    }
    this.#lastPending = undefined;
    this.#update();
    this.ondrain?.();
  }

  /** Our side is over without an acknowledged end. */
  #sendingFailed(): void {
    this.#watched = false;
    if (this.#sending) {
      this.#sending = false;
      if (this.#ended) this.#host.unsent(-1);
      this.#ended = true;
    }
    this.#pending = undefined;
    this.#lastPending = undefined;
    this.#update();
  }

  /** Say that the connection ended first, once what had come is delivered. */
  #tellCut(): void {
    const { onclose } = this;
    if (onclose === undefined || !this.isCut) return;
    const reason = this.#host.closeReason();
    if (reason === undefined) return;
    this.onclose = undefined;
    onclose(reason);
  }

  #notWritable(): Error {
    const reason = this.#host.closeReason();
    if (reason !== undefined) return new QuicConnectionClosed(reason);
    return Object.assign(new Error("cannot write: our side of the stream has ended"), {
      code: "QUIC_STREAM_ENDED",
    });
  }

  #awaited(): boolean {
    return (
      (this.#flowing && this.#receiving) ||
      this.#pending !== undefined ||
      this.#opening ||
      (this.#watched && this.#ended)
    );
  }

  #isDone(): boolean {
    return !this.#receiving && !this.#sending && !this.#watched;
  }

  /** Hold on to what is awaited, let go of what is not, forget what is done. */
  #update(): void {
    if (this.#isDone()) {
      this.#host.forget(this);
    } else if (this.#awaited()) {
      if (this.#kept) return;
      this.#kept = true;
      this.#host.keep(this);
    } else if (this.#kept && !this.#reconsidered) {
      // Not at once: most streams are wanted again within the same batch, and a WeakRef costs.
      this.#reconsidered = true;
      this.#host.reconsider(this);
    }
  }

  static {
    streamEvents = {
      opened(stream, id) {
        stream.#id = id;
        stream.#opening = false;
        stream.#host.adopt(stream);
        const { endpoint } = stream.#host;
        if (!stream.#receiving && stream.#readable) native.stop(endpoint, id, stream.#stopWith);
        if (stream.#watched) native.watch(endpoint, id);
        stream.#flush();
      },
      wrote(stream, data, taken, fin) {
        stream.#took(data, taken, fin);
      },
      data(stream, data, fin) {
        if (!stream.#receiving) return;
        if (fin) {
          stream.#receiving = false;
        } else if (!stream.#tasted) {
          stream.#tasted = true;
          if (stream.#flowing) stream.#claim();
        }
        if (stream.#flowing && stream.#early === undefined) stream.#ondata?.(data, fin);
        else stream.#keepEarly(new Chunk(data, fin));
        if (!fin) return;
        stream.#update();
        stream.#tellCut();
      },
      reset(stream, code) {
        if (!stream.#receiving) return;
        stream.#receiving = false;
        stream.#early = undefined;
        stream.#resetCode = code;
        stream.#update();
        stream.onreset?.(code);
        stream.#tellCut();
      },
      stopped(stream, code) {
        if (!stream.#sending && !stream.#watched) return;
        stream.#stopCode = code;
        stream.#sendingFailed();
        stream.onstop?.(code);
      },
      writable(stream) {
        stream.#flush();
      },
      finished(stream) {
        if (!stream.#watched) return;
        stream.#watched = false;
        stream.#update();
        stream.#onfinished?.();
      },
      lost(stream) {
        if (!stream.#receiving) return;
        stream.#receiving = false;
        stream.#update();
        stream.#tellCut();
      },
      connectionClosed(stream, all) {
        const unwritten = stream.#sending || stream.#watched;
        if (unwritten || stream.#receiving) stream.#cut = true;
        stream.#sendingFailed();
        if (all || stream.#opening) {
          stream.#receiving = false;
          stream.#early = undefined;
        }
        stream.#opening = false;
        stream.#update();
        const reason = stream.#host.closeReason();
        if (unwritten && reason !== undefined) stream.oncut?.(reason);
        // With something left to read, `lost` follows when it has been read.
        stream.#tellCut();
      },
      settled(stream) {
        stream.#reconsidered = false;
        if (!stream.#kept || stream.#isDone() || stream.#awaited()) return;
        stream.#kept = false;
        stream.#host.loosen(stream);
      },
      connectionIdOf(stream) {
        return stream.#host.connectionId;
      },
    };
  }
}

/** Bytes that a `Duplex` buffers each way before it pushes back. */
const HIGH_WATER_MARK = 256 * 1024;

// @types/node lacks `readable` and `writable`, which make one side of a Duplex end at once.
const BOTH: object = { allowHalfOpen: true, highWaterMark: HIGH_WATER_MARK };
const READABLE: object = { ...BOTH, writable: false };
const WRITABLE: object = { ...BOTH, readable: false };

/**
 * With more streams than this, what a stream buffers to be sent is a write and little more: a peer with
 * 4,096 streams that reads none of them would hold a gigabyte.
 */
const FEW = 64;
const SHORT = { writableHighWaterMark: 16 * 1024, readableHighWaterMark: HIGH_WATER_MARK };
const BOTH_OF_MANY: object = { allowHalfOpen: true, ...SHORT };
const WRITABLE_OF_MANY: object = { ...BOTH_OF_MANY, readable: false };

function optionsOf(raw: RawStream, host: StreamHost): object {
  if (!raw.writable) return READABLE;
  const many = host.streams() > FEW;
  if (raw.readable) return many ? BOTH_OF_MANY : BOTH;
  return many ? WRITABLE_OF_MANY : WRITABLE;
}

/**
 * Where a stream's listeners stand: as `Duplex` itself makes it, but by a constructor and not a literal, for
 * the reason told at {@linkcode Chunk}. In every third process Node's literal was made old, and a listener
 * holds its stream: requests then took 10 µs instead of 6.
 */
class Listeners {
  close = undefined;
  error = undefined;
  prefinish = undefined;
  finish = undefined;
  drain = undefined;
  data = undefined;
  end = undefined;
  readable = undefined;
}

/**
 * A stream as Node knows it; half-open is allowed.
 *
 * `end()` sends FIN. `destroy(error)` sends RESET_STREAM and STOP_SENDING with the number that the
 * endpoint's `resetCodeOf` gives. The peer's RESET_STREAM destroys it with {@linkcode QuicStreamReset}.
 * The peer's STOP_SENDING fails writes with {@linkcode QuicStreamStopped}; as a failed write destroys a
 * `Duplex`, it fails once what the peer sends has been read, if anybody reads.
 */
export class QuicStream extends Duplex {
  readonly #raw: RawStream;
  readonly #host: StreamHost;
  #reading = false;
  #paused = false;
  /** What is written now is the last: the end goes with it, in one crossing. */
  #ending = false;
  /** A write, or the end, that waits for room. */
  #waiting: ((error?: Error | null) => void) | undefined;
  /** Why nothing can be written any more. */
  #unwritable: QuicStreamStopped | QuicConnectionClosed | undefined;
  /** The connection ended: what is buffered can be read still. */
  #lost: QuicConnectionClosed | undefined;

  constructor(raw: RawStream, host: StreamHost) {
    super(optionsOf(raw, host));
    (this as unknown as { _events: object })._events = new Listeners();
    this.#raw = raw;
    this.#host = host;
    raw.ondrain = () => this.#proceed(null);
    raw.onreset = (code) => this.destroy(new QuicStreamReset(code));
    raw.onstop = (code) => this.#stop(new QuicStreamStopped(code));
    raw.oncut = (reason) => this.#cannotWrite(new QuicConnectionClosed(reason));
    raw.onclose = (reason) => this.#lose(new QuicConnectionClosed(reason));
    // What came while nobody listened.
    const closeReason = host.closeReason();
    if (raw.stopCode !== undefined) this.#unwritable = new QuicStreamStopped(raw.stopCode);
    if (raw.resetCode !== undefined) {
      this.destroy(new QuicStreamReset(raw.resetCode));
    } else if (closeReason !== undefined) {
      this.#unwritable ??= new QuicConnectionClosed(closeReason);
      if (raw.isCut) this.#lose(new QuicConnectionClosed(closeReason));
    }
  }

  /** The engine's number of this stream, for logs. */
  get streamId(): number {
    return this.#raw.id;
  }

  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.#lost !== undefined && this.readableLength === 0) this.#fail(this.#lost);
    return chunk;
  }

  override _read(): void {
    if (!this.#reading) {
      this.#reading = true;
      this.#raw.ondata = (data, fin) => this.#receive(data, fin);
    } else if (this.#paused) {
      this.#paused = false;
      this.#raw.resume();
    }
  }

  #receive(data: Buffer, fin: boolean): void {
    if (data.length > 0 && !this.push(data) && !fin) {
      this.#paused = true;
      this.#raw.pause();
    }
    if (fin) this.push(null);
  }

  override end(chunk?: unknown, encoding?: unknown, done?: unknown): this {
    this.#ending = true;
    try {
      return super.end(chunk, encoding as BufferEncoding, done as () => void);
    } finally {
      this.#ending = false;
    }
  }

  override _write(
    chunk: Uint8Array,
    _encoding: string,
    done: (error?: Error | null) => void,
  ): void {
    if (this.#unwritable !== undefined) {
      this.#waiting = done;
      this.#failWrite();
      return;
    }
    try {
      if (this.#raw.write(chunk, this.#ending)) done();
      else this.#waiting = done;
    } catch (error) {
      done(error as Error);
    }
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    if (this.#unwritable !== undefined) {
      this.#waiting = done;
      this.#failWrite();
      return;
    }
    try {
      let taken = true;
      for (const { chunk } of chunks) taken = this.#raw.write(chunk);
      if (taken) done();
      else this.#waiting = done;
    } catch (error) {
      done(error as Error);
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    // After STOP_SENDING nobody wants our end.
    if (this.#unwritable instanceof QuicStreamStopped) return done();
    if (this.#unwritable !== undefined) {
      this.#waiting = done;
      this.#failWrite();
      return;
    }
    try {
      // It went with the last bytes.
      if (!this.#raw.sending || this.#raw.end()) done();
      else this.#waiting = done;
    } catch (error) {
      done(error as Error);
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const raw = this.#raw;
    // After end() the FIN is on its way, and a clean destroy leaves it there, unless it waits for room.
    const unsent = raw.sending || this.#waiting !== undefined;
    if (error !== null || unsent || raw.receiving) {
      const code = this.#host.resetCodeOf(error);
      raw.stop(code);
      if (error !== null || unsent) raw.reset(code);
    }
    this.#waiting = undefined;
    done(error);
  }

  #proceed(error: Error | null): void {
    const done = this.#waiting;
    this.#waiting = undefined;
    done?.(error);
  }

  #stop(error: QuicStreamStopped): void {
    this.#cannotWrite(error);
    this.emit("stopped", error.stopCode);
  }

  #cannotWrite(error: QuicStreamStopped | QuicConnectionClosed): void {
    this.#unwritable ??= error;
    if (this.#waiting !== undefined) this.#failWrite();
  }

  /** Fail the waiting write, unless what the peer sends is still being read. */
  #failWrite(): void {
    if (this.#reading && !this.readableEnded) {
      this.once("end", () => this.#failWrite());
      return;
    }
    this.#proceed(this.#unwritable ?? null);
  }

  #lose(error: QuicConnectionClosed): void {
    if (this.readableLength > 0 && !this.readableEnded) {
      this.#lost = error;
      return;
    }
    this.#fail(error);
  }

  #fail(error: QuicConnectionClosed): void {
    this.#lost = undefined;
    process.nextTick(() => {
      if (!this.destroyed && !(this.readableEnded && this.writableFinished)) this.destroy(error);
    });
  }
}
