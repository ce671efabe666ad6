/**
 * The store of a node's identities, in one SQLite file that other processes may write, too.
 *
 * ```ts
 * import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
 *
 * await using store = await openSqliteStore({ path: "alknet.db" });
 * ```
 *
 * @module
 */

import {
  type IdentityStore,
  type IdentityStoreOptions,
  openIdentityStore,
} from "@alknet/core/identity-store";
import { silentLogger } from "@alknet/core/log";
import { sqlBackend } from "@alknet/store-sql/sql-backend";
import { sqliteDriver } from "@alknet/store-sql/sqlite-driver";
import { openDatabaseFile } from "./database-file.ts";

export interface OpenSqliteStoreOptions extends IdentityStoreOptions {
  /** The file; it is made if it is not there, readable by its owner alone. Its folder must be there. */
  readonly path: string;
  /** Read, and follow changes; the file need not be writable, but has to exist. @default false */
  readonly readOnly?: boolean | undefined;
  /** Make the file if it is not there. With `false`, one that is missing or empty is an error. @default true */
  readonly create?: boolean | undefined;
}

/**
 * Open the store in a file.
 *
 * @throws {StoreError} `STORE_CORRUPT` if it is damaged, or a database of another program; `STORE_NEWER` if a newer
 * alknet wrote it; `STORE_BUSY` if it stays locked for 10 s; `STORE_UNAVAILABLE` if it cannot be reached.
 */
export async function openSqliteStore(options: OpenSqliteStoreOptions): Promise<IdentityStore> {
  const { path, readOnly = false, create = true, logger = silentLogger, clock } = options;
  const connections = await openDatabaseFile({ path, readOnly, create, logger });
  return await openIdentityStore(sqlBackend(sqliteDriver(connections), { clock }), options);
}
