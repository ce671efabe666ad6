/**
 * One writer of a vault file at a time, among all processes.
 *
 * The lock is SQLite's, on an empty file beside the vault file: Node has no other that the system takes back from a
 * process that was killed. The file stays there: who removes it may remove it from under another.
 *
 * @module
 */

import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createPrivate, shellQuoted, unreadable, vaultFileError } from "./vault-file-disk.ts";

/** How long a writer waits for others, in milliseconds. Each needs some ten. */
const PATIENCE = 10_000;
/** Between two looks whether they are done, in milliseconds. */
const PAUSE = 20;
/** `SQLITE_BUSY` */
const BUSY = 5;

/**
 * Run `work`, to its end and on this thread, while nobody else does so for `path`.
 *
 * @param options.patience how long to wait for others, in milliseconds. @default 10_000
 * @throws {VaultError} `VAULT_BUSY`, `VAULT_UNREADABLE`.
 */
export async function whileLocked<T>(
  path: string,
  work: () => T,
  { patience = PATIENCE }: { patience?: number | undefined } = {},
): Promise<T> {
  const file = `${path}.lock`;
  for (let waited = 0; ; waited += PAUSE) {
    using lock = await take(path, file);
    if (lock !== undefined) return work();
    if (waited >= patience) {
      const found = `another process has been writing it for ${patience / 1_000} s`;
      throw vaultFileError("VAULT_BUSY", path, found, {
        hint: `look which one it is: fuser ${shellQuoted(file)}`,
      });
    }
    await sleep(PAUSE);
  }
}

/** @returns `undefined` if somebody has it. */
async function take(path: string, file: string): Promise<Disposable | undefined> {
  // Loaded here: it takes milliseconds, which unlocking alone need not spend.
  const { DatabaseSync } = await import("node:sqlite");
  try {
    create(path, file);
    const database = new DatabaseSync(file, { timeout: 0 });
    try {
      // In memory, for a journal on disk would be one more file.
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
      return database;
    } catch (error) {
      database.close();
      if ((error as { errcode?: number }).errcode === BUSY) return undefined;
      throw error;
    }
  } catch (error) {
    throw unreadable(path, "lock", error);
  }
}

/** SQLite would make it as the umask has it. */
function create(path: string, file: string): void {
  try {
    fs.closeSync(createPrivate(file, path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
