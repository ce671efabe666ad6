/**
 * Where a machine has the key that unlocks its vault when no person is there: a file, or a credential of systemd. A
 * system's keyring is another {@linkcode UnlockKeySource}, and not of this package.
 *
 * As text an unlock key is base64 of its 32 bytes (44 characters) and a line end.
 *
 * @module
 */

import * as fs from "node:fs";
import { join } from "node:path";
import { decodeBase64Bytes, encodeBase64Bytes } from "./base64-bytes.ts";
import { VaultError } from "./vault-error.ts";
import { shellQuoted } from "./vault-file-disk.ts";
import { KEY_LENGTH } from "./vault-file-format.ts";
import { secretBytes, wipe } from "./wipe.ts";

/** The name of the systemd credential. */
export const UNLOCK_KEY_CREDENTIAL = "alknet-vault";

/** Longest file that is looked at, in bytes. */
const MAX_FILE = 1_024;
const LINE_END = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A place for one unlock key. */
export interface UnlockKeySource {
  /** For messages: `key file "/etc/alknet/unlock.key"`. */
  readonly name: string;
  /**
   * The key, 32 secret bytes that the caller wipes; `undefined` if there is none, as when a memory stick is not in.
   *
   * Rejects with `UNLOCK_KEY_INVALID` if what is there is no key, or others can read it.
   */
  read(): Promise<Uint8Array | undefined>;
}

/** A file, 0600 or less; a link to one will do. */
export function unlockKeyFile(path: string): UnlockKeySource {
  const name = `key file ${JSON.stringify(path)}`;
  return { name, read: async () => readKeyFile(name, path, 0o077) };
}

/**
 * The credential {@linkcode UNLOCK_KEY_CREDENTIAL} of a systemd service: `LoadCredential=alknet-vault:/path`, or
 * `LoadCredentialEncrypted=`, by which it is on disk sealed to the machine.
 *
 * @param env `process.env`, of which `CREDENTIALS_DIRECTORY` is read.
 */
export function systemdUnlockKey(
  env: Readonly<Record<string, string | undefined>>,
): UnlockKeySource {
  const name = `systemd credential "${UNLOCK_KEY_CREDENTIAL}"`;
  const folder = env["CREDENTIALS_DIRECTORY"];
  if (!folder) return { name, read: async () => undefined };
  // Where systemd lets the service read by an access list, the group's bits show it.
  return { name, read: async () => readKeyFile(name, join(folder, UNLOCK_KEY_CREDENTIAL), 0o007) };
}

/**
 * Write a key file, 0600, on disk when this returns.
 *
 * @throws {NodeJS.ErrnoException} `EEXIST` if there is a file: its key may be in use.
 */
export function writeUnlockKeyFile(path: string, unlockKey: Uint8Array): void {
  const text = formatUnlockKey(unlockKey);
  try {
    fs.writeFileSync(path, text, { flag: "wx", mode: 0o600, flush: true });
  } finally {
    wipe(text);
  }
}

/**
 * A key as text, ASCII with its line end, secret bytes that the caller wipes.
 *
 * @throws {RangeError} unless the key has 32 bytes.
 */
export function formatUnlockKey(unlockKey: Uint8Array): Uint8Array {
  if (unlockKey.length !== KEY_LENGTH) {
    throw new RangeError(`expected an unlock key of ${KEY_LENGTH} bytes, got ${unlockKey.length}`);
  }
  const base64 = encodeBase64Bytes(unlockKey);
  const text = secretBytes(base64.length + 1).fill(LINE_END);
  text.set(base64);
  wipe(base64);
  return text;
}

/**
 * Read what {@linkcode formatUnlockKey} has written; the line end may be missing, or be of Windows.
 *
 * @returns secret bytes that the caller wipes; `undefined` if it is anything else.
 */
export function parseUnlockKey(text: Uint8Array): Uint8Array | undefined {
  let end = text.length;
  if (text[end - 1] === LINE_END) end--;
  if (text[end - 1] === CARRIAGE_RETURN) end--;
  const unlockKey = decodeBase64Bytes(text.subarray(0, end));
  if (unlockKey?.length === KEY_LENGTH) return unlockKey;
  wipe(unlockKey);
  return undefined;
}

/** @param forbidden bits of the mode. */
function readKeyFile(name: string, path: string, forbidden: number): Uint8Array | undefined {
  const text = secretBytes(MAX_FILE);
  try {
    const opened = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      const { mode } = fs.fstatSync(opened);
      if (process.platform !== "win32" && (mode & forbidden) !== 0) {
        const octal = (mode & 0o777).toString(8).padStart(4, "0");
        const found = `others can read or change it (mode ${octal}); expected 0600`;
        throw invalid(name, found, `chmod 600 ${shellQuoted(path)}`);
      }
      const unlockKey = parseUnlockKey(text.subarray(0, fs.readSync(opened, text)));
      if (unlockKey !== undefined) return unlockKey;
    } finally {
      fs.closeSync(opened);
    }
  } catch (error) {
    if (error instanceof VaultError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw invalid(name, message, `look who may read it: ls -l ${shellQuoted(path)}`, error);
  } finally {
    wipe(text);
  }
  const expected = `expected base64 of ${KEY_LENGTH} bytes, in one line`;
  throw invalid(name, expected, "make another: alknet vault unlock-key add");
}

function invalid(name: string, found: string, hint: string, cause?: unknown): VaultError {
  const text = `cannot unlock the vault with ${name}: ${found}`;
  return new VaultError("UNLOCK_KEY_INVALID", text, { hint, cause });
}
