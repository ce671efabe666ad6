/**
 * A stream in memory that behaves as one of QUIC: half-close, reset and stop with codes, back-pressure.
 *
 * @module
 */

import { Duplex } from "node:stream";
import { CloseCode, closeCodeOf } from "./close-code.ts";
import { type ConnectionClosed, StreamReset } from "./connection.ts";

type Done = (error?: Error | null) => void;

/**
 * Both ends of a new stream; each keeps at most `window` bytes that nobody has read.
 *
 * @param announce called when the first end begins: a peer sees a stream with its first byte.
 * @param moved called with the number of bytes that went over.
 * @param resetError what reads or writes fail with after a reset or a stop.
 */
export function memoryStreams(
  window: number,
  announce: () => void,
  moved: (bytes: number) => void,
  resetError: (code: number) => Error = (code) => new StreamReset(code),
): [MemoryStream, MemoryStream] {
  const near = new MemoryStream(window, announce, moved, resetError);
  const far = new MemoryStream(window, () => {}, moved, resetError);
  near.join(far);
  far.join(near);
  return [near, far];
}

/** What arrives from the other end is pushed here; what does not fit waits over there, in one write. */
export class MemoryStream extends Duplex {
  #far: MemoryStream | undefined;
  readonly #window: number;
  readonly #announce: () => void;
  readonly #moved: (bytes: number) => void;
  readonly #resetError: (code: number) => Error;
  /** A write that waits for room at the other end. */
  #waiting: { chunk: Buffer; done: Done } | undefined;
  #reading = false;
  /** Our end, or our reset, has been sent. */
  #sent = false;
  /** Theirs has come. */
  #received = false;
  #stopped: Error | undefined;
  /** The connection is gone; what has come can be read still. */
  #lost: ConnectionClosed | undefined;
  /** Called once, at the first byte, end or reset from the other end. */
  onarrival: (() => void) | undefined;

  constructor(
    window: number,
    announce: () => void,
    moved: (bytes: number) => void,
    resetError: (code: number) => Error,
  ) {
    super({ allowHalfOpen: true, highWaterMark: window });
    this.#resetError = resetError;
    this.#window = window;
    this.#announce = announce;
    this.#moved = moved;
    // A stream may fail while nobody listens: that ends the stream, not the process.
    this.on("error", () => {});
  }

  join(far: MemoryStream): void {
    this.#far = far;
  }

  /** Stop reading, end what we write. */
  finish(): void {
    if (!this.#received) this.#far?.stoppedBy(CloseCode.OK);
    if (!this.writableEnded && !this.destroyed) this.end();
  }

  /** The connection ended. Writes fail, and so do reads once what has come was taken. */
  lose(error: ConnectionClosed): void {
    if (this.#lost !== undefined || this.destroyed) return;
    this.#lost = error;
    this.#settleLoss();
  }

  /** The connection was ended at this end: nothing more is wanted, and the other end is told apart. */
  abandon(error: ConnectionClosed): void {
    this.#lost ??= error;
    this.destroy(error);
  }

  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.#lost !== undefined) this.#settleLoss();
    return chunk;
  }

  override _read(): void {
    this.#reading = true;
    // The reader is about to take what is there: it is asked for more before its length says so.
    this.#far?.pump(this.#window);
  }

  override _write(chunk: Buffer, _encoding: string, done: Done): void {
    this.#announce();
    // A copy, as on the wire: the writer may use its memory again once the write is done.
    this.#waiting = { chunk: Buffer.from(chunk), done };
    if (this.#lost !== undefined) this.#settleLoss();
    else if (this.#stopped !== undefined) this.#failWrite();
    else this.pump(this.#window - this.#far!.readableLength);
  }

  override _final(done: Done): void {
    this.#announce();
    this.#sent = true;
    if (this.#stopped === undefined) this.#far?.endedBy();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#announce();
    this.#waiting = undefined;
    const code = error === null ? CloseCode.OK : closeCodeOf(error);
    if (this.#lost === undefined) {
      if (!this.#received) this.#far?.stoppedBy(code);
      if (!this.#sent) this.#far?.resetBy(code);
    }
    done(error);
  }

  /** Move up to `room` bytes of what waits here to the other end. */
  pump(room: number): void {
    const waiting = this.#waiting;
    const far = this.#far;
    if (waiting === undefined || far === undefined || this.#stopped !== undefined) return;
    if (room <= 0) return;
    const { chunk, done } = waiting;
    const part = chunk.subarray(0, room);
    if (part.length === chunk.length) this.#waiting = undefined;
    else waiting.chunk = chunk.subarray(room);
    far.arrived();
    this.#moved(part.length);
    far.push(part);
    if (this.#waiting === undefined) done();
  }

  arrived(): void {
    const onarrival = this.onarrival;
    this.onarrival = undefined;
    onarrival?.();
  }

  endedBy(): void {
    if (this.destroyed) return;
    this.#received = true;
    this.arrived();
    this.push(null);
  }

  resetBy(code: number): void {
    if (this.destroyed) return;
    this.#received = true;
    this.arrived();
    this.destroy(this.#resetError(code));
  }

  stoppedBy(code: number): void {
    if (this.destroyed || this.#stopped !== undefined) return;
    this.#stopped = this.#resetError(code);
    this.emit("stopped", code);
    if (this.#waiting !== undefined) this.#failWrite();
  }

  /** Fail the waiting write; but what the other end sends, and somebody reads, comes first. */
  #failWrite(): void {
    if (this.#reading && !this.readableEnded && !this.#received) {
      this.once("end", () => this.#failWrite());
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(this.#stopped);
  }

  #settleLoss(): void {
    const unread = this.readableLength > 0 || (this.#received && !this.readableEnded);
    if (unread && this.#waiting === undefined) {
      if (this.#received) this.once("end", () => this.#fail());
      return;
    }
    process.nextTick(() => this.#fail());
  }

  #fail(): void {
    if (this.destroyed || (this.readableEnded && this.writableFinished)) return;
    this.destroy(this.#lost);
  }
}
