/**
 * Frames of `alknet/call` on a byte stream: `length: u32, big-endian`, then that much UTF-8 JSON.
 *
 * @module
 */

import { Buffer, isUtf8 } from "node:buffer";

/** Longest body, in bytes. */
export const MAX_BODY: number = 64 * 2 ** 20;

/** Bytes of the length before a body. */
const HEADER = 4;

/** Longest frame that is sent as text, in bytes: above, a copy less is worth a buffer. */
const MAX_TEXT = 4_096;

/** Least memory for a frame that comes in pieces, in bytes; it grows as they come. */
const FIRST_PIECE = 65_536;

/**
 * Memory for a long frame, in bytes, which all readers take in turn: new memory costs five times as much as the
 * copying into it.
 */
const SPARE = 2 * 2 ** 20;

/** A frame, ready to be written: bytes, or characters of which each is a byte (`latin1`). */
export type Frame = Buffer | string;

/** The framing was broken. There is no way back into step: end the stream. */
export class FrameError extends Error {
  override readonly name = "FrameError";
  readonly code: "FRAME_LENGTH" | "FRAME_UTF8" | "FRAME_CUT";

  constructor(code: FrameError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Make one frame of `before + json + after`.
 *
 * @param before ASCII, and so is `after`: what is around the part that may be long and of any characters.
 * @throws {RangeError} if the body is longer than {@linkcode MAX_BODY}.
 */
export function encodeFrame(before: string, json: string, after: string): Frame {
  const bytes = Buffer.byteLength(json);
  const length = before.length + bytes + after.length;
  if (length > MAX_BODY) {
    throw new RangeError(`cannot send frame of ${length} bytes: expected at most ${MAX_BODY}`);
  }
  const isAscii = bytes === json.length;
  if (isAscii && length <= MAX_TEXT) {
    return String.fromCharCode(0, 0, length >>> 8, length & 255) + before + json + after;
  }
  const frame = Buffer.allocUnsafeSlow(HEADER + length);
  frame.writeUInt32BE(length);
  let at = HEADER + frame.write(before, HEADER, "latin1");
  at += frame.write(json, at, isAscii ? "latin1" : "utf8");
  frame.write(after, at, "latin1");
  return frame;
}

/** Takes the bodies out of the chunks of a stream. */
export class FrameReader {
  /** The start of a frame whose rest has not come; its memory grows with what comes, not with what is claimed. */
  #partial: Buffer = NOTHING;
  #length = 0;
  /** Bytes of the frame in `#partial`, header included; `HEADER` until its length is known. */
  #wanted = HEADER;

  /** Bytes of a frame that has not come in full. */
  get partialBytes(): number {
    return this.#length;
  }

  /**
   * @param visit is called with each body that is complete, and its length in bytes.
   * @throws {FrameError} if a length is zero or above {@linkcode MAX_BODY}, or a body is not UTF-8; the
   * bodies before it have been visited.
   */
  push(chunk: Buffer, visit: (body: string, bytes: number) => void): void {
    let at = 0;
    while (this.#length > 0) {
      const end = Math.min(chunk.length, at + this.#wanted - this.#length);
      this.#keep(chunk, at, end);
      at = end;
      if (this.#length < this.#wanted) return;
      if (this.#wanted === HEADER) {
        this.#wanted += bodyLength(this.#partial, 0);
        continue;
      }
      const body = decodeBody(this.#partial, HEADER, this.#wanted);
      const bytes = this.#wanted - HEADER;
      this.discard();
      visit(body, bytes);
    }
    while (at < chunk.length) {
      const start = at + HEADER;
      if (start > chunk.length) break;
      const bytes = bodyLength(chunk, at);
      if (start + bytes > chunk.length) {
        this.#wanted = HEADER + bytes;
        break;
      }
      at = start + bytes;
      visit(decodeBody(chunk, start, at), bytes);
    }
    this.#keep(chunk, at, chunk.length);
  }

  /** Forget what has come of a frame: its rest will not. */
  discard(): void {
    if (this.#partial.length === SPARE) spare = this.#partial;
    this.#partial = NOTHING;
    this.#length = 0;
    this.#wanted = HEADER;
  }

  /** @throws {FrameError} if the stream has ended within a frame. */
  end(): void {
    if (this.#length === 0) return;
    throw new FrameError(
      "FRAME_CUT",
      `cannot read frame: the stream ended after ${this.#length} bytes of it`,
    );
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    const length = this.#length + end - start;
    if (length > this.#partial.length) {
      const grown = memoryFor(length, this.#wanted);
      this.#partial.copy(grown, 0, 0, this.#length);
      this.#partial = grown;
    }
    chunk.copy(this.#partial, this.#length, start, end);
    this.#length = length;
  }
}

const NOTHING = Buffer.alloc(0);

let spare: Buffer | undefined;

/** @param length bytes that have come, of `wanted`. */
function memoryFor(length: number, wanted: number): Buffer {
  if (wanted > FIRST_PIECE && wanted <= SPARE && spare !== undefined) {
    const taken = spare;
    spare = undefined;
    return taken;
  }
  const room = Math.min(wanted, Math.max(FIRST_PIECE, 4 * length));
  return Buffer.allocUnsafeSlow(room > SPARE / 4 && wanted <= SPARE ? SPARE : room);
}

function bodyLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at);
  // Refused before anything is kept of it: the length is the peer's claim, the memory is ours.
  if (length >= 1 && length <= MAX_BODY) return length;
  throw new FrameError(
    "FRAME_LENGTH",
    `cannot read frame of ${length} bytes: expected 1 to ${MAX_BODY}`,
  );
}

function decodeBody(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start, end);
  // What is no UTF-8 has become U+FFFD, which may also have been sent.
  if (text.includes("\ufffd") && !isUtf8(bytes.subarray(start, end))) {
    throw new FrameError("FRAME_UTF8", `cannot read frame of ${end - start} bytes: not UTF-8`);
  }
  return text;
}
