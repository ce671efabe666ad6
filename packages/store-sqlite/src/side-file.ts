/**
 * The file beside a database, `<database>.notify`: touched after each commit, which wakes who watches the folder.
 *
 * In it is which files belonged together when the database was opened last. So a `-wal` is known for
 * that of a database which has been replaced since, also after a restart:
 *
 * ```text
 * { "database": inode, "wal": inode, "side": inode of this file }
 * ```
 *
 * The three inodes change together when a whole folder is copied or restored; then nothing follows from them.
 *
 * @module
 */

import * as fs from "node:fs";

/** Inodes of files that belong together. */
export interface Together {
  readonly database: number;
  readonly wal: number;
}

/** Longest file that is read, in bytes. */
const MAX_LENGTH = 1_024;

/** Whether the `-wal` that is there was written for another database than the one that is there. */
export function isOldWal(known: Together, now: Together): boolean {
  return known.wal === now.wal && known.database !== now.database;
}

/** @returns `undefined` if there is none, or it tells nothing about the files that are there. */
export function readSideFile(file: string): Together | undefined {
  try {
    const { size, ino } = fs.statSync(file);
    if (size > MAX_LENGTH) return undefined;
    const { database, wal, side } = JSON.parse(fs.readFileSync(file, "utf8")) as Record<
      string,
      unknown
    >;
    if (typeof database !== "number" || typeof wal !== "number" || side !== ino) return undefined;
    return { database, wal };
  } catch {
    // It is a help, and no more.
    return undefined;
  }
}

/** Note which files belong together; not if that is known, because writing wakes all who watch. */
export function writeSideFile(file: string, together: Together): void {
  const known = readSideFile(file);
  if (known?.database === together.database && known.wal === together.wal) return;
  try {
    const descriptor = fs.openSync(file, fs.constants.O_CREAT | fs.constants.O_RDWR, 0o600);
    try {
      const side = fs.fstatSync(descriptor).ino;
      fs.ftruncateSync(descriptor);
      fs.writeSync(descriptor, `${JSON.stringify({ ...together, side })}\n`, 0);
    } finally {
      fs.closeSync(descriptor);
    }
  } catch {
    // A folder in which we may not write; the first commit tells of it.
  }
}

/** Wake who watches. @throws what the file system throws. */
export function touchSideFile(file: string): void {
  const now = new Date();
  try {
    fs.utimesSync(file, now, now);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    fs.closeSync(fs.openSync(file, "a", 0o600));
  }
}
