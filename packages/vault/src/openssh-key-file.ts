/**
 * Reading of Ed25519 private keys as OpenSSH keeps them, not encrypted; `openssh-key.ts` has the layout, and writes them.
 *
 * Pure: no I/O.
 *
 * @module
 */

import { ed25519PublicKey } from "./derived-key.ts";
import { SshDataError, SshReader } from "./wire/ssh-data.ts";

/** A key file that is not of the kind that is wanted; its text quotes none of it. */
export class OpensshKeyError extends Error {
  override readonly name = "OpensshKeyError";
  readonly code: "KEY_INVALID" | "KEY_ENCRYPTED" | "KEY_TYPE";

  constructor(code: OpensshKeyError["code"], text: string) {
    super(text);
    this.code = code;
  }
}

const MAGIC = "openssh-key-v1\0";
const ARMOUR =
  /^-----BEGIN OPENSSH PRIVATE KEY-----\r?\n([A-Za-z0-9+/=\r\n]{1,16000})-----END OPENSSH PRIVATE KEY-----\s*$/;

/**
 * The seed of an Ed25519 key, 32 bytes (RFC 8032 §5.1.5), which the caller wipes.
 *
 * @throws {OpensshKeyError} `KEY_ENCRYPTED`, `KEY_TYPE` if it is of another algorithm, `KEY_INVALID` for all else.
 */
export function readOpensshKeyFile(text: string): Uint8Array {
  const base64 = ARMOUR.exec(text)?.[1];
  if (base64 === undefined) {
    throw invalid('expected "-----BEGIN OPENSSH PRIVATE KEY-----", and one key');
  }
  const bytes = Buffer.from(base64, "base64");
  try {
    return seedOf(bytes);
  } catch (error) {
    throw error instanceof SshDataError ? invalid("it is cut off, or damaged") : error;
  } finally {
    bytes.fill(0);
  }
}

function seedOf(bytes: Buffer): Uint8Array {
  if (bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) throw invalid("it is damaged");
  const file = new SshReader(bytes.subarray(MAGIC.length));
  const [cipher] = [file.text(), file.text(), file.string()];
  const count = file.uint32();
  const publicType = new SshReader(file.string()).text();
  if (publicType !== "ssh-ed25519" || count !== 1) {
    const found = count === 1 ? printable(publicType) : `${count} keys`;
    throw new OpensshKeyError("KEY_TYPE", `expected one ssh-ed25519 key, found ${found}`);
  }
  if (cipher !== "none") throw new OpensshKeyError("KEY_ENCRYPTED", "it has a passphrase");
  const key = new SshReader(file.string());
  file.end();
  if (key.uint32() !== key.uint32() || key.text() !== publicType) throw invalid("it is damaged");
  const publicKey = key.string();
  const secret = key.string();
  // Else a signature would tell the seed: the public key is an input of it.
  if (
    secret.length !== 64 ||
    !Buffer.from(ed25519PublicKey(secret.subarray(0, 32))).equals(publicKey)
  ) {
    throw invalid("its two halves do not belong together");
  }
  return Uint8Array.from(secret.subarray(0, 32));
}

function invalid(text: string): OpensshKeyError {
  return new OpensshKeyError("KEY_INVALID", text);
}

function printable(type: string): string {
  return /^[a-z0-9@.-]{1,64}$/.test(type) ? type : "another";
}
