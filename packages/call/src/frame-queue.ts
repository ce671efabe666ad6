/**
 * Frames that wait to be written to one stream, in order. What has not been written can be taken back.
 *
 * @module
 */

import type { Frame } from "./wire/frame.ts";

/** Frames behind the first that are given up at once, when that many have been taken. */
const COMPACT = 1_024;

export class FrameQueue {
  /** Those before `#first` have been taken; an empty one was taken back. */
  #frames: Frame[] = [];
  #first = 0;
  /** Number of the frame at index 0 of `#frames`. */
  #base = 0;
  #bytes = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @returns a number by which it can be taken back. */
  push(frame: Frame): number {
    this.#bytes += frame.length;
    return this.#base + this.#frames.push(frame) - 1;
  }

  /** Take a frame back. @returns false if it is not here any more. */
  cancel(number: number): boolean {
    const index = number - this.#base;
    const frame = index < this.#first ? undefined : this.#frames[index];
    if (frame === undefined || frame.length === 0) return false;
    this.#bytes -= frame.length;
    this.#frames[index] = "";
    return true;
  }

  /**
   * Take what is to be written next: texts in one, as long as they have fewer than `bytes`; or one buffer.
   *
   * @returns `undefined` if nothing waits.
   */
  take(bytes: number): Frame | undefined {
    let text = "";
    while (this.#first < this.#frames.length && text.length < bytes) {
      const frame = this.#frames[this.#first]!;
      if (typeof frame !== "string") {
        if (text !== "") break;
        this.#advance();
        this.#bytes -= frame.length;
        return frame;
      }
      text += frame;
      this.#advance();
    }
    this.#bytes -= text.length;
    return text === "" ? undefined : text;
  }

  clear(): void {
    this.#bytes = 0;
    this.#forget(this.#frames.length);
  }

  /** Forget the first: what was taken shall not be kept by its place. */
  #advance(): void {
    this.#frames[this.#first++] = "";
    if (this.#first === this.#frames.length) this.#forget(this.#first);
    else if (this.#first >= COMPACT && this.#first * 2 > this.#frames.length) {
      this.#forget(this.#first);
    }
  }

  #forget(count: number): void {
    this.#base += count;
    this.#first = 0;
    if (count === this.#frames.length) this.#frames.length = 0;
    else this.#frames.splice(0, count);
  }
}
