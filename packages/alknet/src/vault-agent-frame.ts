/**
 * Frames on `vault.sock`, the same both ways: what is public as JSON, what may be secret as bytes, which can be wiped.
 *
 * ```text
 * u32  length of what follows, 2 bytes to 1 MiB, big-endian
 * u16  length of the header
 *      header: an object, JSON in UTF-8
 *      bytes
 *
 * → {"request":"decrypt","context":"credential:github","sealed":{…}}
 * ← {}                                    · the plaintext
 * ← {"error":{"code":"VAULT_LOCKED","message":"…","hint":"…"}}
 * ```
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { secretBytes } from "@alknet/vault/wipe";

/** Longest frame without its length, in bytes. */
export const MAX_FRAME: number = 2 ** 20;
/** Of the two lengths, in bytes. */
const LENGTHS = 6;

export interface Frame {
  readonly header: Readonly<Record<string, unknown>>;
  readonly bytes: Uint8Array;
}

/** The other side broke the framing. */
export class VaultFrameError extends Error {
  override readonly name = "VaultFrameError";
  readonly code = "FRAME_INVALID";
}

/** @returns bytes that may be secret; wipe them when they were sent. @throws {VaultFrameError} if it is too long. */
export function encodeFrame({ header, bytes }: Frame): Uint8Array {
  const json = Buffer.from(JSON.stringify(header));
  const length = 2 + json.length + bytes.length;
  if (length > MAX_FRAME || json.length > 0xffff) {
    throw new VaultFrameError(`cannot send ${length} bytes at once: expected at most ${MAX_FRAME}`);
  }
  const frame = secretBytes(4 + length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, length);
  view.setUint16(4, json.length);
  frame.set(json, LENGTHS);
  frame.set(bytes, LENGTHS + json.length);
  return frame;
}

/** Puts a frame together from the chunks in which it comes. */
export interface FrameReader {
  /**
   * Take over a chunk, which is wiped.
   *
   * @returns the frame once all of it has come; the caller wipes its bytes. What follows it is thrown away.
   * @throws {VaultFrameError} before memory is taken for what is too long.
   */
  push(chunk: Uint8Array): Frame | undefined;
  /** Wipe what has come so far. */
  wipe(): void;
}

export function createFrameReader(): FrameReader {
  const head = new Uint8Array(4);
  let headLength = 0;
  let body: Uint8Array | undefined;
  let bodyLength = 0;

  return {
    push(chunk) {
      let rest = chunk;
      const move = (into: Uint8Array, at: number): number => {
        const part = rest.subarray(0, into.length - at);
        into.set(part, at);
        part.fill(0);
        rest = rest.subarray(part.length);
        return at + part.length;
      };
      headLength = move(head, headLength);
      if (headLength < head.length) return undefined;
      body ??= secretBytes(checkedLength(new DataView(head.buffer).getUint32(0)));
      bodyLength = move(body, bodyLength);
      rest.fill(0);
      return bodyLength < body.length ? undefined : decodeBody(body);
    },
    wipe() {
      body?.fill(0);
    },
  };
}

function checkedLength(length: number): number {
  if (length >= 2 && length <= MAX_FRAME) return length;
  throw new VaultFrameError(`cannot read a frame of ${length} bytes: expected 2 to ${MAX_FRAME}`);
}

function decodeBody(body: Uint8Array): Frame {
  const end = 2 + new DataView(body.buffer).getUint16(0);
  if (end > body.length) throw new VaultFrameError("the header of a frame goes on behind its end");
  const header = parseObject(body.subarray(2, end));
  if (header === undefined) throw new VaultFrameError("the header of a frame is no JSON object");
  return { header, bytes: body.subarray(end) };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
