/**
 * Ed25519 keys as OpenSSH writes them: the private key file (OpenSSH's `PROTOCOL.key`), the line of a public key
 * (RFC 8709 §4, RFC 4253 §6.6) and the fingerprint that `ssh-keygen -l` prints.
 *
 *     "openssh-key-v1\0" · string cipher · string kdf · string kdf options · u32 1 · string public key · string private part
 *     private part: u32 check · u32 check · string "ssh-ed25519" · string public key (32)
 *                   · string seed ‖ public key (64) · string comment · 1, 2, 3, … up to a multiple of 8
 *
 * The file is not encrypted: OpenSSH's key derivation for that is bcrypt_pbkdf, which Node has not, and a
 * passphrase is set with `ssh-keygen -p -f FILE`.
 *
 * Pure: no I/O, no clock, no random number. One key and comment give one file.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { encodeBase64Bytes } from "./base64-bytes.ts";
import { secretBytes, wipe } from "./wipe.ts";

/** Longest comment, in bytes of UTF-8. */
export const MAX_COMMENT = 256;

const ALGORITHM = Buffer.from("ssh-ed25519");
const MAGIC = Buffer.from("openssh-key-v1\0");
const NONE = Buffer.from("none");
const BEGIN = Buffer.from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
const NEWLINE = Buffer.from("\n");
const END = Buffer.from("-----END OPENSSH PRIVATE KEY-----\n");
/** As `ssh-keygen` breaks its lines. */
const LINE_LENGTH = 70;
/** The block size of the cipher "none". */
const BLOCK = 8;

/**
 * The private key file, in {@linkcode secretBytes} that the caller wipes. Write it with mode 0600.
 *
 * @param seed 32 bytes (RFC 8032 §5.1.5).
 * @param publicKey the 32 bytes that belong to it.
 * @param comment what `ssh-add -l` shows.
 * @throws {RangeError} on another length, or a comment that is too long or has control characters.
 */
export function opensshPrivateKeyFile(
  seed: Uint8Array,
  publicKey: Uint8Array,
  comment: string,
): Uint8Array {
  if (seed.length !== 32) throw new RangeError(`expected a seed of 32 bytes, got ${seed.length}`);
  const blob = sshPublicKeyBlob(publicKey);
  // It tells a wrong passphrase from a right one; here there is none, and any number does.
  const check = publicKey.subarray(0, 4);
  const fields = [
    ...[check, check],
    ...string(ALGORITHM),
    ...string(publicKey),
    ...string(seed, publicKey),
    ...string(checkedComment(comment)),
  ];
  const padding = Array.from({ length: -lengthOf(fields) & (BLOCK - 1) }, (_, index) => index + 1);
  const binary = joined([
    MAGIC,
    ...string(NONE),
    ...string(NONE),
    ...string(),
    u32(1),
    ...string(blob),
    ...string(...fields, Uint8Array.from(padding)),
  ]);
  const base64 = encodeBase64Bytes(binary);
  const lines: Uint8Array[] = [BEGIN];
  for (let at = 0; at < base64.length; at += LINE_LENGTH) {
    lines.push(base64.subarray(at, at + LINE_LENGTH), NEWLINE);
  }
  const file = joined([...lines, END]);
  wipe(binary, base64);
  return file;
}

/** The public key as SSH sends it (RFC 8709 §4): 51 bytes. */
export function sshPublicKeyBlob(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length === 32) return joined([...string(ALGORITHM), ...string(publicKey)]);
  throw new RangeError(`expected a public key of 32 bytes, got ${publicKey.length}`);
}

/**
 * `ssh-ed25519 AAAA… comment`, without a line end: for `authorized_keys`.
 *
 * @throws {RangeError} as {@linkcode opensshPrivateKeyFile}.
 */
export function sshPublicKeyLine(publicKey: Uint8Array, comment: string): string {
  const blob = Buffer.from(sshPublicKeyBlob(publicKey)).toString("base64");
  const text = Buffer.from(checkedComment(comment)).toString();
  return text === "" ? `ssh-ed25519 ${blob}` : `ssh-ed25519 ${blob} ${text}`;
}

/** `SHA256:` and base64 without padding, as `ssh-keygen -l` prints it. */
export function sshFingerprint(publicKey: Uint8Array): string {
  const hash = createHash("sha256").update(sshPublicKeyBlob(publicKey)).digest("base64");
  return `SHA256:${hash.replace(/=+$/, "")}`;
}

/** A line end would begin another line of `authorized_keys`. */
function checkedComment(comment: string): Uint8Array {
  const bytes = Buffer.from(comment);
  if (bytes.length <= MAX_COMMENT && !/\p{Cc}/u.test(comment)) return bytes;
  throw new RangeError(
    `cannot use comment ${JSON.stringify(comment.slice(0, 80))}: expected at most ${MAX_COMMENT} bytes without control characters`,
  );
}

/** RFC 4251 §5: a length, then that many bytes, here of several parts. */
function string(...parts: readonly Uint8Array[]): Uint8Array[] {
  return [u32(lengthOf(parts)), ...parts];
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** All in one; the parts are not copied anywhere else. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = secretBytes(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
