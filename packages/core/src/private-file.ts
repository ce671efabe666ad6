/**
 * Files with a secret in them, such as a private key: small, and for their owner's eyes only.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { makeFolders } from "./make-folders.ts";

/** Longest file that is read, in bytes. A key is a few hundred. */
const MAX_FILE = 16_384;

export interface PrivateFile {
  readonly text: string;
  /** Its permissions, four octal digits, if others than its owner have any. */
  readonly openTo: string | undefined;
}

/**
 * Read a file of at most 16 KiB.
 *
 * @returns `undefined` if there is none.
 * @throws {Error} if it is no such file, or what the system says.
 */
export function readPrivateFile(path: string): PrivateFile | undefined {
  let file: number;
  try {
    file = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    // Of the open file: the path may mean another one by now.
    const stat = fs.fstatSync(file);
    if (!stat.isFile() || stat.size > MAX_FILE) {
      throw new Error(`expected a file of at most ${MAX_FILE} bytes`);
    }
    // Whose file it is needs no look: one of another user, closed to others, we could not have read.
    const isOpen = process.platform !== "win32" && (stat.mode & 0o077) !== 0;
    const openTo = isOpen ? (stat.mode & 0o777).toString(8).padStart(4, "0") : undefined;
    return { text: fs.readFileSync(file, "utf8"), openTo };
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Write a new file, mode 0600, with the folders above it. Leaves one that is there already alone.
 *
 * Of two processes that do so at once, one has its way: the file is written and synced under another name, then given
 * its own only if nobody was faster.
 *
 * @throws {Error} what the system says.
 */
export function createPrivateFile(path: string, content: string | Uint8Array): void {
  const folder = dirname(path);
  makeFolders(folder);
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    fs.writeFileSync(temporary, content, { flag: "wx", mode: 0o600, flush: true });
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
