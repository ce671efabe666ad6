/**
 * The node's identity on disk: one Ed25519 private key, PKCS #8 in PEM, for its owner's eyes only.
 *
 * @module
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { dirname } from "node:path";
import { selfSignedCertificate } from "./certificate.ts";
import { type Fingerprint, fingerprintOfPublicKey } from "./fingerprint.ts";
import { createPrivateFile, type PrivateFile, readPrivateFile } from "./private-file.ts";

/** A node's key and what follows from it. The private parts are hidden from `JSON` and `inspect`. */
export interface NodeIdentity {
  readonly privateKey: KeyObject;
  /** PKCS #8 */
  readonly privateKeyDer: Uint8Array;
  /** 32 bytes, raw. */
  readonly publicKey: Uint8Array;
  readonly fingerprint: Fingerprint;
  /** The self-signed leaf, DER. */
  readonly certificate: Uint8Array;
  /**
   * A secret that follows from the key (HKDF-SHA256, RFC 5869): for one `label` always the same, and
   * telling nothing about the key or about other labels.
   *
   * @param length in bytes, 1 to 8,160.
   */
  derive(label: string, length: number): Uint8Array;
}

/** The identity file cannot be used. */
export class IdentityError extends Error {
  override readonly name = "IdentityError";
  /** Others can read it; it holds no Ed25519 key; the system refused, see `cause`. */
  readonly code: "IDENTITY_PERMISSIONS" | "IDENTITY_INVALID" | "IDENTITY_UNREADABLE";
  readonly path: string;
  /** What to do about it, a command where there is one. */
  readonly hint: string;

  constructor(
    code: IdentityError["code"],
    path: string,
    text: string,
    hint: string,
    options?: ErrorOptions,
  ) {
    super(`cannot use identity ${JSON.stringify(path)}: ${text}`, options);
    this.code = code;
    this.path = path;
    this.hint = hint;
  }
}

/**
 * Read the identity at `path`, or make one there if there is no file.
 *
 * Two processes that start at once end up with the same identity: the key is written and synced under
 * another name, then given its own only if nobody was faster.
 *
 * @throws {IdentityError}
 */
export function loadOrCreateIdentity(path: string): NodeIdentity {
  const found = read(path);
  if (found !== undefined) return found;
  try {
    create(path);
  } catch (error) {
    throw unreadable(path, "create", error);
  }
  const made = read(path);
  if (made !== undefined) return made;
  throw unreadable(path, "create", new Error("it was there, and is gone again"));
}

/** The identity at `path`. @throws {IdentityError} also if there is none. */
export function loadIdentity(path: string): NodeIdentity {
  const found = read(path);
  if (found !== undefined) return found;
  throw new IdentityError("IDENTITY_UNREADABLE", path, "there is no such file", "alknet id");
}

/** An identity that lives as long as the process. */
export function createIdentity(): NodeIdentity {
  return identityFromKey(generateKeyPairSync("ed25519").privateKey);
}

/** @throws {TypeError} if the key is not an Ed25519 private key. */
export function identityFromKey(privateKey: KeyObject): NodeIdentity {
  const { certificate } = selfSignedCertificate(privateKey);
  const privateKeyDer = privateKey.export({ format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const publicKey = Uint8Array.from(spki.subarray(-32));
  const fingerprint = fingerprintOfPublicKey(publicKey);
  // RFC 8410 §7: the 32 bytes of the seed end the structure.
  const seed = privateKeyDer.subarray(-32);
  const derive = (label: string, length: number): Uint8Array =>
    new Uint8Array(hkdfSync("sha256", seed, "alknet", label, length));
  const identity = { publicKey, fingerprint, certificate };
  const hidden = { privateKey, privateKeyDer, derive, toJSON: () => ({ fingerprint }) };
  return Object.freeze(
    Object.defineProperties(
      identity,
      Object.fromEntries(
        Object.entries(hidden).map(([name, value]) => [name, { value, enumerable: false }]),
      ),
    ),
  ) as NodeIdentity;
}

/** `undefined` if there is no file. */
function read(path: string): NodeIdentity | undefined {
  let file: PrivateFile | undefined;
  try {
    file = readPrivateFile(path);
  } catch (error) {
    throw unreadable(path, "read", error);
  }
  if (file === undefined) return undefined;
  if (file.openTo === undefined) return parse(path, file.text);
  const hint = `chmod 600 ${shellQuoted(path)}`;
  const found = `others can read or change it (mode ${file.openTo}); expected 0600: ${hint}`;
  throw new IdentityError("IDENTITY_PERMISSIONS", path, found, hint);
}

function parse(path: string, text: string): NodeIdentity {
  const hint = "restore the file from a backup, or move it away to get a new identity";
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    // The cause is left out on purpose: it could quote the file.
    const expected = "expected an Ed25519 private key (PKCS #8, PEM)";
    throw new IdentityError("IDENTITY_INVALID", path, expected, hint);
  }
  if (key.asymmetricKeyType === "ed25519") return identityFromKey(key);
  const expected = `expected an Ed25519 private key, found ${key.asymmetricKeyType}`;
  throw new IdentityError("IDENTITY_INVALID", path, expected, hint);
}

function create(path: string): void {
  const { privateKey } = generateKeyPairSync("ed25519");
  createPrivateFile(path, privateKey.export({ format: "pem", type: "pkcs8" }));
}

function unreadable(path: string, verb: string, cause: unknown): IdentityError {
  const { message } = cause as Error;
  const hint = `look who may ${verb} it: ls -ld ${shellQuoted(dirname(path))} ${shellQuoted(path)}`;
  return new IdentityError("IDENTITY_UNREADABLE", path, `cannot ${verb} it: ${message}`, hint, {
    cause,
  });
}

function shellQuoted(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
