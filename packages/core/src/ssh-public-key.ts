/**
 * SSH public keys as lines of text, `ssh-ed25519 AAAA… comment`: what OpenSSH keeps in `id_ed25519.pub` and
 * `authorized_keys`.
 *
 * An Ed25519 key is the same key in SSH as in TLS, and so has the same fingerprint. Others go by the SHA-256
 * of the SSH public-key blob; that of OpenSSH is the same hash in base64. A key on a security token
 * (`sk-ssh-ed25519@openssh.com`) signs something else than the key itself would, and is never `ed25519:`.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type Fingerprint, fingerprintOfPublicKey, parseFingerprint } from "./fingerprint.ts";
import { type InvalidText, invalidText } from "./invalid-text.ts";

export interface SshPublicKey {
  /** `ssh-ed25519`, `ssh-rsa`, … */
  readonly type: string;
  /** RFC 4253 §6.6: the type again, then what the key consists of. */
  readonly blob: Uint8Array;
  readonly fingerprint: Fingerprint;
  readonly comment: string;
}

/** Longest line, in characters: RSA keys of 16,384 bits have 2,800. */
const MAX_LINE = 8_192;

/**
 * Read a line. Options of `authorized_keys` before the type are refused: they would be ignored.
 *
 * @throws {InvalidText} `SSH_KEY_INVALID`
 */
export function parseSshPublicKey(line: string): SshPublicKey {
  if (line.length > MAX_LINE) throw invalid(line, `expected at most ${MAX_LINE} characters`);
  if (line.includes("PRIVATE KEY")) {
    throw invalid("-----BEGIN …", 'this is a private key; expected the file that ends in ".pub"');
  }
  const [type = "", base64 = "", ...words] = line.trim().split(/[ \t]+/);
  if (!/^[a-z0-9@.-]{1,64}$/.test(type) || !/^[A-Za-z0-9+/]{16,}={0,2}$/.test(base64)) {
    throw invalid(line, 'expected "ssh-ed25519 AAAA…", a line of a file that ends in ".pub"');
  }
  const blob = Buffer.from(base64, "base64");
  if (blob.toString("base64") !== base64.padEnd(Math.ceil(base64.length / 4) * 4, "=")) {
    throw invalid(line, "some of the base64 is missing or changed");
  }
  const length = blob.readUInt32BE(0);
  if (length !== type.length || blob.toString("latin1", 4, 4 + length) !== type) {
    throw invalid(line, `expected a key of type ${type}`);
  }
  const comment = words.join(" ");
  if (type !== "ssh-ed25519") {
    const hash = createHash("sha256").update(blob).digest("hex");
    return { type, blob, fingerprint: parseFingerprint(`SHA256:${hash}`), comment };
  }
  // The type, and 32 bytes behind their length: nothing more.
  if (blob.length !== 51 || blob.readUInt32BE(15) !== 32) {
    throw invalid(line, "expected an Ed25519 key of 32 bytes");
  }
  return { type, blob, fingerprint: fingerprintOfPublicKey(blob.subarray(19)), comment };
}

function invalid(text: string, expected: string): InvalidText {
  return invalidText("SSH_KEY_INVALID", "SSH public key", text, expected);
}
