/**
 * Bytes as one line that people copy: a prefix, base32, and a checksum that notices what was lost on the way.
 *
 * ```text
 * text     = prefix base32(payload checksum)
 * checksum = first 4 bytes of SHA-256(prefix payload)
 * ```
 *
 * A prefix ends with the number of its version. Texts of two prefixes are never taken for each other.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { decodeBase32, encodeBase32 } from "./base32.ts";

/** Bytes of the checksum. */
const CHECKSUM = 4;

export interface CheckedFormat {
  /** Lower-case letters, and a number. */
  readonly prefix: string;
  /** Longest text that is read, in characters. */
  readonly longest: number;
  /** Bytes of the shortest payload. */
  readonly shortest: number;
}

export function encodeChecked({ prefix }: CheckedFormat, payload: Uint8Array): string {
  return prefix + encodeBase32(Buffer.concat([payload, checksum(prefix, payload)]));
}

/**
 * The payload of `text`, which may be in either case (QR codes prefer capitals), with or without space
 * around it.
 *
 * @param fail makes the error of what was expected.
 * @throws what `fail` makes; a character that was lost or changed is noticed.
 */
export function decodeChecked(
  { prefix, longest, shortest }: CheckedFormat,
  text: string,
  fail: (expected: string) => Error,
): Buffer {
  if (text.length > longest) throw fail(`expected at most ${longest} characters`);
  const line = text.trim().toLowerCase();
  if (!line.startsWith(prefix)) {
    const family = prefix.replace(/[0-9]+$/, "");
    const version = line.startsWith(family)
      ? /^[0-9]+/.exec(line.slice(family.length))?.[0]
      : undefined;
    if (version === undefined) throw fail(`expected "${prefix}" at its start`);
    const found = family + version.slice(0, 9);
    throw fail(`expected "${prefix}", found "${found}": made by a newer version`);
  }
  const encoded = line.slice(prefix.length);
  if (/(?:…|\.\.)$/.test(encoded)) throw fail("it is cut off");
  const strange = /[^a-z2-7]/u.exec(encoded)?.[0];
  if (strange !== undefined) throw fail(`expected base32, found ${JSON.stringify(strange)}`);
  const bytes = decodeBase32(encoded);
  if (bytes === undefined || bytes.length < shortest + CHECKSUM) throw fail("it is cut off");
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length - CHECKSUM);
  if (!Buffer.from(bytes.subarray(-CHECKSUM)).equals(checksum(prefix, payload))) {
    throw fail("its checksum is wrong; some of it is cut off or changed");
  }
  return payload;
}

function checksum(prefix: string, payload: Uint8Array): Uint8Array {
  return createHash("sha256").update(prefix).update(payload).digest().subarray(0, CHECKSUM);
}
