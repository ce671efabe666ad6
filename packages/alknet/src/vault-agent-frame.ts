/**
 * Frames on `vault.sock`, the same both ways: what is public as JSON, what may be secret as bytes, which can be wiped.
 *
 * ```text
 * u32  length of what follows, at most 1 MiB, big-endian
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

import { createMessages } from "@alknet/vault/wire/length-prefixed";
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
   * @throws {LengthError} before memory is taken for what is too long. @throws {VaultFrameError}
   */
  push(chunk: Uint8Array): Frame | undefined;
  /** Wipe what has come so far. */
  wipe(): void;
}

export function createFrameReader(): FrameReader {
  const messages = createMessages(MAX_FRAME);
  return {
    push(chunk) {
      messages.push(chunk);
      const body = messages.take();
      if (body === undefined) return undefined;
      messages.wipe();
      return decodeBody(body);
    },
    wipe: () => messages.wipe(),
  };
}

function decodeBody(body: Uint8Array): Frame {
  const end =
    body.length < 2 ? Infinity : 2 + new DataView(body.buffer, body.byteOffset).getUint16(0);
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
