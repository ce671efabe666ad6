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
  randomUUID,
} from "node:crypto";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { selfSignedCertificate } from "./certificate.ts";
import { type Fingerprint, fingerprintOfPublicKey } from "./fingerprint.ts";
import { makeFolders } from "./make-folders.ts";

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

/** Longest file that is read, in bytes. A key is 119. */
const MAX_FILE = 16_384;

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
  let text: string;
  let mode: number;
  try {
    const file = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      // Of the open file: the path may mean another one by now.
      const stat = fs.fstatSync(file);
      if (!stat.isFile() || stat.size > MAX_FILE) {
        throw new Error(`expected a file of at most ${MAX_FILE} bytes`);
      }
      mode = stat.mode;
      text = fs.readFileSync(file, "utf8");
    } finally {
      fs.closeSync(file);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable(path, "read", error);
  }
  // Whose file it is needs no look: one of another user, closed to others, we could not have read.
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, "0");
    const hint = `chmod 600 ${shellQuoted(path)}`;
    const found = `others can read or change it (mode ${octal}); expected 0600: ${hint}`;
    throw new IdentityError("IDENTITY_PERMISSIONS", path, found, hint);
  }
  return parse(path, text);
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

/** Write a new key. Leaves a file that is there already alone. */
function create(path: string): void {
  const folder = dirname(path);
  makeFolders(folder);
  const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    fs.writeFileSync(temporary, pem, { flag: "wx", mode: 0o600, flush: true });
    publish(temporary, path);
  } finally {
    fs.rmSync(temporary, { force: true });
  }
  // The name is on disk only once the folder is.
  if (process.platform === "win32") return;
  const opened = fs.openSync(folder, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(opened);
  } finally {
    fs.closeSync(opened);
  }
}

/** Give the file its name, unless somebody has it. `rename` would take it away from them. */
function publish(temporary: string, path: string): void {
  try {
    fs.linkSync(temporary, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    // A file system without hard links (FAT, some network ones).
    if (!["EPERM", "ENOTSUP", "ENOSYS", "EOPNOTSUPP"].includes(code ?? "")) throw error;
    if (!fs.existsSync(path)) fs.renameSync(temporary, path);
  }
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
