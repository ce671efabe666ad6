/**
 * Base64 (RFC 4648 §4, with padding) from bytes to bytes: for secrets, which must not become strings.
 *
 * @module
 */

import { secretBytes, wipe } from "./wipe.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const CHARACTERS = Uint8Array.from(ALPHABET, (character) => character.charCodeAt(0));
const VALUES = new Map([...CHARACTERS].map((character, value) => [character, value]));
const PADDING = "=".charCodeAt(0);

/** The text of `bytes`, ASCII, in {@linkcode secretBytes} of the caller. */
export function encodeBase64Bytes(bytes: Uint8Array): Uint8Array {
  const text = secretBytes(Math.ceil(bytes.length / 3) * 4).fill(PADDING);
  let at = 0;
  for (let from = 0; from < bytes.length; from += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(from, from + 3);
    const group = (a << 16) | (b << 8) | c;
    // Two characters for one byte, three for two, four for three; the rest is padding.
    const count = Math.min(bytes.length - from, 3) + 1;
    for (let each = 0; each < count; each++) {
      text[at + each] = CHARACTERS[(group >>> (18 - 6 * each)) & 63]!;
    }
    at += 4;
  }
  return text;
}

/**
 * The bytes of a text, in {@linkcode secretBytes} of the caller.
 *
 * @returns `undefined` for anything but the one text that {@linkcode encodeBase64Bytes} makes of those bytes.
 */
export function decodeBase64Bytes(text: Uint8Array): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.at(-1) !== PADDING ? 0 : text.at(-2) !== PADDING ? 1 : 2;
  const bytes = secretBytes((text.length / 4) * 3 - padding);
  let at = 0;
  let held = 0;
  let bits = 0;
  for (const character of text.subarray(0, text.length - padding)) {
    const value = VALUES.get(character);
    if (value === undefined) {
      wipe(bytes);
      return undefined;
    }
    held = (held << 6) | value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = held >>> bits;
    held &= (1 << bits) - 1;
  }
  if (held === 0) return bytes;
  wipe(bytes);
  return undefined;
}
