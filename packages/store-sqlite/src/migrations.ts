/**
 * The versions of our tables, and the way from each to the next.
 *
 * The version is SQLite's `user_version`; `application_id` says that a file is ours at all.
 *
 * @module
 */

import { StoreError } from "@alknet/core/store-error";
import type { SqliteHandle } from "@alknet/store-sql/sqlite-handle";
import { TABLES } from "./migrations/1-tables.ts";
import { META } from "./migrations/2-meta.ts";

/** `alkn`, as `file` and other tools show it. */
export const APPLICATION_ID = 0x61_6c_6b_6e;

/** Statements that lead from version `index` to `index + 1`. Once released, one is never changed. */
export const MIGRATIONS: readonly (readonly string[])[] = [TABLES, META];

/** The oldest version that can be read as it is. */
export const READABLE_FROM = 1;

/** What a file is, as far as its header tells. */
export type FileKind =
  | { readonly kind: "empty" }
  | { readonly kind: "ours"; readonly version: number }
  | { readonly kind: "foreign"; readonly applicationId: number };

/** @throws what SQLite throws if it is no database. */
export function fileKind(handle: SqliteHandle): FileKind {
  const applicationId = numberOf(handle, "PRAGMA application_id");
  const version = numberOf(handle, "PRAGMA user_version");
  const objects = numberOf(handle, "SELECT count(*) FROM sqlite_schema");
  if (applicationId === APPLICATION_ID) return { kind: "ours", version };
  if (applicationId === 0 && version === 0 && objects === 0) return { kind: "empty" };
  return { kind: "foreign", applicationId };
}

/**
 * See that a file is ours, and of a version that we know.
 *
 * @throws {StoreError} `STORE_CORRUPT` if it is another program's, `STORE_NEWER`.
 */
export function checkFile(
  kind: FileKind,
  label: string,
  migrations: readonly unknown[] = MIGRATIONS,
): void {
  if (kind.kind === "foreign") {
    const id = kind.applicationId === 0 ? "" : `, with application_id ${kind.applicationId}`;
    throw new StoreError("STORE_CORRUPT", `${label} is a database of another program${id}`, {
      hint: "name another file; to use tables of yours: createIdentityStore of @alknet/store-sql",
    });
  }
  if (kind.kind === "ours" && kind.version > migrations.length) {
    const versions = `it has version ${kind.version}, we know up to ${migrations.length}`;
    throw new StoreError("STORE_NEWER", `${label} was written by a newer alknet: ${versions}`, {
      hint: "update alknet on this machine, or restore the file from before the update",
    });
  }
}

/**
 * Bring a database to the newest version: all steps in one transaction, or none.
 *
 * Call it inside `BEGIN IMMEDIATE`: another process may just have done it.
 *
 * @throws {StoreError} `STORE_CORRUPT`, `STORE_NEWER`
 */
export function migrate(
  handle: SqliteHandle,
  label: string,
  migrations: readonly (readonly string[])[] = MIGRATIONS,
): void {
  const kind = fileKind(handle);
  checkFile(kind, label, migrations);
  const from = kind.kind === "ours" ? kind.version : 0;
  if (from === migrations.length) return;
  for (const step of migrations.slice(from)) for (const sql of step) handle.exec(sql);
  handle.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  handle.exec(`PRAGMA user_version = ${migrations.length}`);
}

/**
 * Which database it is: 32 hexadecimal digits, drawn when it was made and the same in each copy.
 *
 * @returns `undefined` if it is older than that.
 */
export function databaseId(handle: SqliteHandle): string | undefined {
  const kind = fileKind(handle);
  if (kind.kind !== "ours" || kind.version < 2) return undefined;
  const [[id] = []] = handle.all("SELECT value FROM meta WHERE name = 'database_id'", []);
  return typeof id === "string" ? id : undefined;
}

function numberOf(handle: SqliteHandle, sql: string): number {
  return Number(handle.all(sql, [])[0]?.[0]);
}
