/**
 * What SQLite's results mean for a store.
 *
 * @module
 */

import { StoreError } from "@alknet/core/store-error";

/** Primary result codes that we tell apart; https://sqlite.org/rescode.html. */
const NAMES: Readonly<Record<number, string>> = {
  5: "BUSY",
  6: "LOCKED",
  8: "READONLY",
  10: "IOERR",
  11: "CORRUPT",
  13: "FULL",
  14: "CANTOPEN",
  19: "CONSTRAINT",
  26: "NOTADB",
};

/** Extended codes of failed writes: no room, as a file-size limit or a quota shows itself. */
const NO_ROOM = new Set([778, 4_874]);

/** `BUSY`, `FULL`, …: of an error of either library; `undefined`: not of SQLite, or of no interest here. */
export function sqliteResult(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  // node:sqlite gives the number, with the extended code above its lowest byte.
  if (typeof errcode === "number") {
    return NO_ROOM.has(errcode) ? "FULL" : NAMES[errcode & 0xff];
  }
  // better-sqlite3 gives the name: SQLITE_BUSY_SNAPSHOT, …
  if (typeof code !== "string") return undefined;
  if (code === "SQLITE_IOERR_WRITE" || code === "SQLITE_IOERR_SHMSIZE") return "FULL";
  return /^SQLITE_([A-Z]+)/.exec(code)?.[1];
}

export function isBusy(error: unknown): boolean {
  const result = sqliteResult(error);
  return result === "BUSY" || result === "LOCKED";
}

/** Whether the file is damaged, or no database. */
export function isCorrupt(error: unknown): boolean {
  const result = sqliteResult(error);
  return result === "CORRUPT" || result === "NOTADB";
}

/** An error of SQLite as one of the store; others as they are. */
export function storeError(error: unknown, label: string): unknown {
  if (error instanceof StoreError) return error;
  const result = sqliteResult(error);
  const options = { cause: error };
  const text = (error as Error | undefined)?.message ?? "";
  switch (result) {
    case "BUSY":
    case "LOCKED":
      return new StoreError("STORE_BUSY", `${label} is locked by another program`, {
        ...options,
        hint: `see who has it open: fuser -v ${label}`,
      });
    case "FULL":
      return new StoreError("STORE_FULL", `no room to write ${label}; nothing was changed`, {
        ...options,
        hint: "make room on the disk, and try again",
      });
    case "READONLY":
      return new StoreError("STORE_READ_ONLY", `${label} may be read, and not written`, options);
    case "CORRUPT":
    case "NOTADB":
      return new StoreError(
        "STORE_CORRUPT",
        `${label} is damaged, or no SQLite database: ${text}`,
        {
          ...options,
          hint: `restore it from a backup, together with no ${label}-wal; or save what is left: sqlite3 ${label} .recover`,
        },
      );
    case "CANTOPEN":
    case "IOERR":
      return new StoreError("STORE_UNAVAILABLE", `cannot reach ${label}: ${text}`, options);
    case undefined:
    default:
      return (error as { code?: unknown } | undefined)?.code === "ERR_OUT_OF_RANGE"
        ? new StoreError(
            "STORE_CORRUPT",
            `${label} has a number that is too large: ${text}`,
            options,
          )
        : error;
  }
}
