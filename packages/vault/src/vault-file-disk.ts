/**
 * The vault file on disk: read only where it is its owner's alone, and replaced whole or not at all.
 *
 * @module
 */

import * as fs from "node:fs";
import { dirname } from "node:path";
import { VaultError, type VaultErrorCode, type VaultErrorOptions } from "./vault-error.ts";
import {
  formatVaultFile,
  MAX_VAULT_FILE,
  parseVaultFile,
  type SealedVaultFile,
} from "./vault-file-format.ts";

/**
 * Read the file at `path`.
 *
 * @throws {VaultError} `VAULT_MISSING`, `VAULT_PERMISSIONS`, `VAULT_UNREADABLE` (a link, no regular file, too large,
 *   or the system refuses, see `cause`), `VAULT_DAMAGED`, `VAULT_VERSION_UNKNOWN`.
 */
export function readVaultFile(path: string): SealedVaultFile {
  const text = readText(path);
  try {
    return parseVaultFile(text);
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    throw ofFile(path, error);
  }
}

/**
 * Put `file` in the place of what is at `path`, 0600: after a crash at any moment the one or the other is there,
 * whole. Only for who holds the lock, see `vault-file-lock.ts`.
 *
 * @throws {VaultError} `VAULT_UNREADABLE`; what was there is there still.
 */
export function writeVaultFile(path: string, file: SealedVaultFile): void {
  // No random name: the lock's holder is the only writer, so this is what one that was killed has left.
  const temporary = `${path}.tmp`;
  try {
    fs.rmSync(temporary, { force: true });
    try {
      const opened = createPrivate(temporary, path);
      try {
        fs.writeFileSync(opened, formatVaultFile(file));
        fs.fsyncSync(opened);
      } finally {
        fs.closeSync(opened);
      }
      fs.renameSync(temporary, path);
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      throw error;
    }
    syncFolder(dirname(path));
  } catch (error) {
    throw unreadable(path, "write", error);
  }
}

/**
 * Make a file that is not there yet, 0600, of the same owner as the vault file at `vault`: root may do what is the
 * user's, and must not leave files behind that the user cannot open.
 *
 * @returns a descriptor, the caller's to close.
 * @throws {NodeJS.ErrnoException} `EEXIST` if it is there.
 */
export function createPrivate(path: string, vault: string): number {
  const opened = fs.openSync(path, "wx", 0o600);
  if (process.getuid?.() === 0) {
    const owner = fs.statSync(vault, { throwIfNoEntry: false }) ?? fs.statSync(dirname(vault));
    fs.fchownSync(opened, owner.uid, owner.gid);
  }
  return opened;
}

/** Something is wrong with the file at `path`. */
export function vaultFileError(
  code: VaultErrorCode,
  path: string,
  found: string,
  options: VaultErrorOptions,
): VaultError {
  return new VaultError(code, `cannot use vault file ${JSON.stringify(path)}: ${found}`, options);
}

/** What is wrong with a file, and which. */
export function ofFile(path: string, { code, message, hint }: VaultError): VaultError {
  return vaultFileError(code, path, message, { hint });
}

/** The system refuses. */
export function unreadable(path: string, verb: string, cause: unknown): VaultError {
  const folder = shellQuoted(dirname(path));
  const full = ["ENOSPC", "EDQUOT"].includes((cause as NodeJS.ErrnoException).code ?? "");
  const hint = full
    ? `make room, and try again; see how much there is: df -h ${folder}`
    : `look who may ${verb} it: ls -ld ${folder} ${shellQuoted(path)}`;
  const found = `cannot ${verb} it: ${(cause as Error).message}`;
  return vaultFileError("VAULT_UNREADABLE", path, found, { hint, cause });
}

/** For a command in a hint. */
export function shellQuoted(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function readText(path: string): string {
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = fs.constants;
  let mode: number;
  let text: string;
  try {
    const opened = fs.openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    try {
      // Of the open file: the path may mean another one by now.
      const stat = fs.fstatSync(opened);
      if (!stat.isFile() || stat.size > MAX_VAULT_FILE) {
        throw new Error(`expected a file of at most ${MAX_VAULT_FILE} bytes`);
      }
      mode = stat.mode;
      text = fs.readFileSync(opened, "latin1");
    } finally {
      fs.closeSync(opened);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ELOOP") throw unreadable(path, "read", new Error("it is a link"));
    if (code !== "ENOENT") throw unreadable(path, "read", error);
    throw vaultFileError("VAULT_MISSING", path, "there is no such file", {
      hint: "alknet vault create, or from words that you have: alknet vault import",
    });
  }
  // Whose file it is needs no look: one of another user, closed to others, we could not have read.
  if (process.platform === "win32" || (mode & 0o077) === 0) return text;
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  const found = `others can read or change it (mode ${octal}); expected 0600`;
  throw vaultFileError("VAULT_PERMISSIONS", path, found, {
    hint: `chmod 600 ${shellQuoted(path)}`,
  });
}

/** A name is on disk only once its folder is. */
function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const opened = fs.openSync(folder, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(opened);
  } finally {
    fs.closeSync(opened);
  }
}
