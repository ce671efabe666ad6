/**
 * One stream of a session: events come in, frames go out, all of a turn of the event loop in one write.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { withoutStack } from "@alknet/core/without-stack";
import { FrameQueue } from "./frame-queue.ts";
import { type CallEvent, parseEvent } from "./wire/event.ts";
import { type Frame, FrameReader } from "./wire/frame.ts";

/** Texts are put together for one write up to this, in bytes. */
const BATCH = 65_536;

/** What a stream tells the session it belongs to. */
export interface StreamHost {
  /** @param bytes length of the body. */
  received(stream: CallStream, event: CallEvent, bytes: number): void;
  /** All that waited has been taken by the transport. */
  drained(stream: CallStream): void;
  /** Of all streams one more (1), or one fewer (-1), has a transport that takes no more for now. */
  blocked(change: 1 | -1): void;
  /** The peer sends no more on it. */
  ended(stream: CallStream): void;
  /** Bytes of frames that have not come in full are more, or fewer. @returns false: that is too much. */
  partial(change: number): boolean;
  /** @param error `undefined`: both sides have ended. */
  closedStream(stream: CallStream, error: Error | undefined): void;
}

export class CallStream {
  readonly #host: StreamHost;
  readonly #queue = new FrameQueue();
  readonly #reader = new FrameReader();
  readonly #visit: (body: string, bytes: number) => void;
  /** Bytes of a frame that has not come in full, as far as the host was told. */
  #partialBytes = 0;
  /** `undefined` until the stream is open. */
  #duplex: Duplex | undefined;
  #flushing = false;
  /** The transport takes no more for now. */
  #blocked = false;
  /** Nothing is sent after what waits. */
  #ending = false;
  #ended = false;
  #paused = false;
  #closed = false;
  /** Who waits until all is taken. */
  #waiting: (() => void)[] = [];

  constructor(host: StreamHost) {
    this.#host = host;
    this.#visit = (body, bytes) => {
      if (this.#closed) return;
      const event = parseEvent(body);
      if (event !== undefined) host.received(this, event, bytes);
    };
  }

  /** Bytes that wait to be sent, here and in the stream beneath. */
  get outgoingBytes(): number {
    return this.#queue.bytes + (this.#duplex?.writableLength ?? 0);
  }

  /** Bytes that the transport has not taken; 0: it takes more, and `drained()` resolves at once. */
  get waitingBytes(): number {
    return this.#blocked ? this.outgoingBytes : this.#queue.bytes;
  }

  /** The peer sends no more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Takes no more frames: it was ended, or is gone. */
  get unusable(): boolean {
    return this.#ending || this.#closed;
  }

  /** Begin to read, and to write what waits. */
  attach(duplex: Duplex): void {
    this.#duplex = duplex;
    duplex.on("data", (chunk: Buffer) => this.#read(chunk));
    duplex.on("end", () => this.#end());
    duplex.on("drain", () => this.#unblock());
    // What it was is told when it closes.
    duplex.on("error", () => {});
    duplex.on("close", () => this.#close(duplex.errored ?? undefined));
    if (this.#closed) duplex.destroy();
    else this.#flush();
  }

  /** @returns a number by which the frame can be taken back. */
  send(frame: Frame): number {
    if (this.#closed) return -1;
    const number = this.#queue.push(frame);
    this.#schedule();
    return number;
  }

  /** Take a frame back. @returns false if it has gone to the transport. */
  cancel(number: number): boolean {
    return this.#queue.cancel(number);
  }

  /** Resolves when the transport has taken all that waits, or the stream is gone. */
  async drained(): Promise<void> {
    if (this.#closed || (this.#queue.bytes === 0 && !this.#blocked)) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Send what waits, then nothing more. */
  end(): void {
    this.#ending = true;
    this.#schedule();
  }

  /** Cut it, here and at the peer. */
  destroy(error: Error): void {
    if (this.#closed) return;
    if (this.#duplex === undefined) this.#close(error);
    else this.#duplex.destroy(error);
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#duplex?.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#duplex?.resume();
  }

  #read(chunk: Buffer): void {
    try {
      this.#reader.push(chunk, this.#visit);
    } catch (error) {
      return this.destroy(streamError("PROTOCOL", textOf(error), error));
    }
    if (this.#closed) return;
    const change = this.#reader.partialBytes - this.#partialBytes;
    this.#partialBytes += change;
    if (change !== 0 && !this.#host.partial(change)) {
      this.destroy(streamError("LIMIT", "too many frames were begun and have not come in full"));
    }
  }

  #end(): void {
    try {
      this.#reader.end();
    } catch (error) {
      return this.destroy(streamError("PROTOCOL", textOf(error), error));
    }
    this.#ended = true;
    this.#host.ended(this);
  }

  /** After the microtasks of this turn: what they send goes in the same write. */
  #schedule(): void {
    if (this.#flushing || this.#blocked || this.#duplex === undefined) return;
    this.#flushing = true;
    process.nextTick(flush, this);
  }

  /** @internal */
  flush(): void {
    this.#flushing = false;
    this.#flush();
  }

  #flush(): void {
    const duplex = this.#duplex!;
    if (duplex.destroyed || duplex.writableEnded) return;
    while (!this.#blocked) {
      const frame = this.#queue.take(BATCH);
      if (frame === undefined) break;
      const taken = typeof frame === "string" ? duplex.write(frame, "latin1") : duplex.write(frame);
      if (!taken) this.#setBlocked(true);
    }
    if (this.#blocked) return;
    if (this.#ending) duplex.end();
    this.#wake();
    this.#host.drained(this);
  }

  /** What the stream beneath was given has gone. */
  #unblock(): void {
    this.#setBlocked(false);
    this.#flush();
  }

  #setBlocked(isBlocked: boolean): void {
    if (this.#blocked === isBlocked) return;
    this.#blocked = isBlocked;
    this.#host.blocked(isBlocked ? 1 : -1);
  }

  #wake(): void {
    if (this.#waiting.length === 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.partial(-this.#partialBytes);
    this.#reader.discard();
    this.#queue.clear();
    this.#setBlocked(false);
    this.#host.closedStream(this, error);
    this.#wake();
  }
}

function flush(stream: CallStream): void {
  stream.flush();
}

/** An error that cuts a stream, of which the peer sees the code. */
export function streamError(
  code: "PROTOCOL" | "LIMIT" | "OK",
  text: string,
  cause?: unknown,
): Error {
  return withoutStack(() =>
    Object.assign(new Error(text, cause === undefined ? undefined : { cause }), { code }),
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
