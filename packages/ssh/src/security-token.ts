/**
 * Signatures of keys on security tokens (FIDO), as OpenSSH has them: `sk-ssh-ed25519@openssh.com` and
 * `sk-ecdsa-sha2-nistp256@openssh.com` (its PROTOCOL.u2f).
 *
 * A token signs the hash of what it is given, together with whose it is to be (the application), what its owner did
 * (flags) and how often it has signed (a counter). Somebody has to have touched it.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { SshPublicKey } from "@alknet/core/ssh-public-key";

/** Types of such keys; their signatures go by the same names. */
export const TOKEN_KEYS: readonly string[] = [
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
];

/** Flags: it was touched. */
const USER_PRESENT = 0x01;
/** Flags, and a counter of 32 bits. */
const TAIL = 5;
const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");
const P256_SPKI = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");

export function isTokenKey({ type }: SshPublicKey): boolean {
  return TOKEN_KEYS.includes(type);
}

/**
 * Whether a token has signed `data`.
 *
 * @param signature behind its type and length: the signature itself, flags, counter.
 */
export function isSignedByToken(
  { type, blob }: SshPublicKey,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const isEd25519 = type === TOKEN_KEYS[0];
  // Type; the curve's name before a point; the public key; the application.
  const fields = strings(Buffer.from(blob));
  const key = fields[isEd25519 ? 1 : 2];
  const application = fields[isEd25519 ? 2 : 3];
  if (fields.length !== (isEd25519 ? 3 : 4) || key === undefined || application === undefined) {
    return false;
  }
  if (key.length !== (isEd25519 ? 32 : 65) || signature.length <= TAIL) return false;
  const tail = Buffer.from(signature.subarray(-TAIL));
  if ((tail.readUInt8(0) & USER_PRESENT) === 0) return false;
  const itself = Buffer.from(signature.subarray(0, -TAIL));
  const signed = Buffer.concat([hash(application), tail, hash(data)]);
  if (isEd25519) {
    return itself.length === 64 && verify(null, signed, publicKey(ED25519_SPKI, key), itself);
  }
  const raw = rawEcdsa(itself);
  if (raw === undefined) return false;
  const point = { key: publicKey(P256_SPKI, key), dsaEncoding: "ieee-p1363" } as const;
  return verify("sha256", signed, point, raw);
}

function publicKey(prefix: Buffer, key: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([prefix, key]), format: "der", type: "spki" });
}

function hash(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}

/** RFC 5656 §3.1.2: two numbers, which may have a zero byte before them and lack those that they begin with. */
function rawEcdsa(signature: Buffer): Buffer | undefined {
  const numbers = strings(signature);
  if (numbers.length !== 2) return undefined;
  const raw = Buffer.alloc(64);
  for (const [at, number] of numbers.entries()) {
    const digits = number[0] === 0 ? number.subarray(1) : number;
    if (digits.length > 32) return undefined;
    digits.copy(raw, 32 * (at + 1) - digits.length);
  }
  return raw;
}

/** Strings, each behind its length (RFC 4251 §5), to the last byte; none if there is anything else. */
function strings(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + (at + 4 <= bytes.length ? bytes.readUInt32BE(at) : Infinity);
    if (end > bytes.length) return [];
    found.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return found;
}
