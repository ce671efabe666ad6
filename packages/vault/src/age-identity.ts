/**
 * age X25519 identities and recipients, as age-keygen writes them: `AGE-SECRET-KEY-1…` and `age1…`, Bech32 (BIP-173,
 * without its limit of 90 characters) of the 32 bytes of a scalar and of its point (age's `README`, C2SP `age.md`).
 *
 * Pure: no I/O, no clock, no random number.
 *
 * @module
 */

import { createPrivateKey, createPublicKey } from "node:crypto";
import { fiveBitGroups, fiveBits } from "./five-bits.ts";
import { secretBytes, wipe } from "./wipe.ts";

const CHARSET = Buffer.from("qpzry9x8gf2tvdw0s3jn54khce6mua7l");
const CHECKSUM_LENGTH = 6;

/**
 * `age1…`: what files are encrypted to.
 *
 * @param secret 32 bytes, as derived; X25519 clamps them (RFC 7748 §5).
 * @throws {RangeError} on another length.
 */
export function ageRecipient(secret: Uint8Array): string {
  checkLength(secret);
  const privateKey = createPrivateKey({
    key: secret,
    format: "raw-private",
    asymmetricKeyType: "x25519",
  });
  const publicKey = createPublicKey(privateKey).export({ format: "raw-public" });
  return Buffer.from(bech32("age", publicKey)).toString("latin1");
}

/**
 * `AGE-SECRET-KEY-1…`, ASCII without a line end, in {@linkcode secretBytes} that the caller wipes.
 *
 * @throws {RangeError} as {@linkcode ageRecipient}.
 */
export function ageIdentity(secret: Uint8Array): Uint8Array {
  checkLength(secret);
  const text = bech32("age-secret-key-", secret);
  for (const [index, character] of text.entries()) {
    if (character >= 0x61 && character <= 0x7a) text[index] = character - 0x20;
  }
  return text;
}

/**
 * An identity file for `age -d -i FILE`: a comment with the recipient, then the identity. In
 * {@linkcode secretBytes} that the caller wipes; write it with mode 0600.
 *
 * @throws {RangeError} as {@linkcode ageRecipient}.
 */
export function ageIdentityFile(secret: Uint8Array): Uint8Array {
  const comment = Buffer.from(`# public key: ${ageRecipient(secret)}\n`);
  const identity = ageIdentity(secret);
  const file = secretBytes(comment.length + identity.length + 1).fill(0x0a);
  file.set(comment);
  file.set(identity, comment.length);
  wipe(identity);
  return file;
}

function checkLength(secret: Uint8Array): void {
  if (secret.length !== 32) throw new RangeError(`expected 32 secret bytes, got ${secret.length}`);
}

/** BIP-173: prefix, "1", then five bits a character, and a checksum of six. Of secrets, so bytes. */
function bech32(prefix: string, bytes: Uint8Array): Uint8Array {
  const head = Buffer.from(`${prefix}1`);
  const count = fiveBitGroups(bytes.length);
  const text = secretBytes(head.length + count + CHECKSUM_LENGTH);
  text.set(head);
  let checksum = [...prefixValues(prefix)].reduce(polymod, 1);
  for (let index = 0; index < count; index++) {
    const value = fiveBits(bytes, index);
    checksum = polymod(checksum, value);
    text[head.length + index] = CHARSET[value]!;
  }
  for (let index = 0; index < CHECKSUM_LENGTH; index++) checksum = polymod(checksum, 0);
  checksum ^= 1;
  for (let index = 0; index < CHECKSUM_LENGTH; index++) {
    text[head.length + count + index] = CHARSET[(checksum >>> (25 - 5 * index)) & 31]!;
  }
  return text;
}

/** What the checksum knows of the prefix: the high bits of its characters, a zero, the low bits. */
function* prefixValues(prefix: string): Generator<number> {
  const characters = Buffer.from(prefix);
  for (const character of characters) yield character >>> 5;
  yield 0;
  for (const character of characters) yield character & 31;
}

/** One step of the checksum: a division in GF(32). */
function polymod(checksum: number, value: number): number {
  const top = checksum >>> 25;
  const next = ((checksum & 0x1ff_ffff) << 5) ^ value;
  const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
  return generators.reduce((sum, term, bit) => ((top >>> bit) & 1 ? sum ^ term : sum), next);
}
