/**
 * pkarr keys: an Ed25519 public key in z-base-32 is a name that its holder can publish DNS records under.
 *
 * The secret key file is the seed in hex, which is what the `pkarr` crate reads and writes.
 *
 * Pure: no I/O, no clock, no random number.
 *
 * @module
 */

import { fiveBitGroups, fiveBits } from "./five-bits.ts";
import { secretBytes } from "./wipe.ts";

const ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769";
const HEX = Buffer.from("0123456789abcdef");

/**
 * A public key of 32 bytes as 52 characters of z-base-32.
 *
 * @throws {RangeError} on another length.
 */
export function pkarrPublicKey(publicKey: Uint8Array): string {
  checkLength(publicKey);
  return encodeZBase32(publicKey);
}

/** z-base-32 of whole bytes: RFC 4648's base32 with an alphabet made for people, without padding. */
export function encodeZBase32(bytes: Uint8Array): string {
  const groups = Array.from({ length: fiveBitGroups(bytes.length) }, (_, index) => index);
  return groups.map((index) => ALPHABET[fiveBits(bytes, index)]).join("");
}

/**
 * The seed as 64 hex digits, ASCII without a line end, in {@linkcode secretBytes} that the caller wipes.
 *
 * @throws {RangeError} on another length than 32 bytes.
 */
export function pkarrSecretKey(seed: Uint8Array): Uint8Array {
  checkLength(seed);
  const text = secretBytes(64);
  for (const [index, byte] of seed.entries()) {
    text[2 * index] = HEX[byte >>> 4]!;
    text[2 * index + 1] = HEX[byte & 15]!;
  }
  return text;
}

function checkLength(key: Uint8Array): void {
  if (key.length !== 32) throw new RangeError(`expected a key of 32 bytes, got ${key.length}`);
}
