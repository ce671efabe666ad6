/**
 * A store of identities in a database that a program has already: over its own tables, if they are mapped.
 *
 * ```ts
 * import { DatabaseSync } from "node:sqlite";
 * import { createIdentityStore } from "@alknet/store-sql/create-identity-store";
 *
 * await using store = await createIdentityStore({ database: new DatabaseSync(":memory:") });
 * await store.putPeer({ peerId: "laptop", fingerprints: [], scopes: [], enabled: true });
 * ```
 *
 * @module
 */

import {
  type IdentityStore,
  type IdentityStoreOptions,
  openIdentityStore,
} from "@alknet/core/identity-store";
import { checkMappedTables } from "./check-mapped-tables.ts";
import { givenConnections } from "./given-connections.ts";
import { isKysely, kyselyDriver, type KyselyLike } from "./kysely-driver.ts";
import { sqlBackend } from "./sql-backend.ts";
import type { SqlDriver } from "./sql-driver.ts";
import { sqliteDriver } from "./sqlite-driver.ts";
import {
  betterSqliteHandle,
  type BetterSqliteLike,
  isBetterSqlite,
  isNodeSqlite,
  nodeSqliteHandle,
  type NodeSqliteLike,
} from "./sqlite-handle.ts";
import { createTables } from "./tables-sql.ts";
import { type ResolvedTables, resolveTables, type TableMapping } from "./table-mapping.ts";

export interface CreateIdentityStoreOptions extends IdentityStoreOptions {
  /**
   * `DatabaseSync` of `node:sqlite`, `Database` of better-sqlite3 13, or a `Kysely` with a dialect for SQLite or
   * PostgreSQL. It stays the caller's: closing the store leaves it open.
   */
  readonly database: NodeSqliteLike | BetterSqliteLike | KyselyLike;
  /** Tables that are there. The others are made where they are missing, under our names with `alknet_` before. */
  readonly tables?: TableMapping | undefined;
}

/** Before the names of tables that are not mapped: `audit` or `notifications` may be somebody else's. */
const PREFIX = "alknet_";

/**
 * Open a store on `database`.
 *
 * @throws {TypeError} if the database is of a kind that we do not know, or the mapping names what is not there.
 * @throws {StoreError} if it cannot be read.
 */
export async function createIdentityStore(
  options: CreateIdentityStoreOptions,
): Promise<IdentityStore> {
  const tables = resolveTables(options.tables, { prefix: PREFIX });
  const driver = await driverFor(options.database);
  try {
    await prepare(driver, tables);
  } catch (error) {
    await driver.close();
    throw error;
  }
  return await openIdentityStore(sqlBackend(driver, { tables, clock: options.clock }), options);
}

async function driverFor(database: unknown): Promise<SqlDriver> {
  if (isNodeSqlite(database)) return sqliteDriver(givenConnections(nodeSqliteHandle(database)));
  if (isBetterSqlite(database)) return sqliteDriver(givenConnections(betterSqliteHandle(database)));
  if (isKysely(database)) return await kyselyDriver(database);
  throw new TypeError(
    "cannot make a store of this database: expected DatabaseSync of node:sqlite, Database of better-sqlite3 13, or a Kysely",
  );
}

/** Make what is missing, and see that the rest is there. */
async function prepare(driver: SqlDriver, tables: ResolvedTables): Promise<void> {
  await driver.transaction(async (session) => {
    for (const sql of createTables(driver.dialect, tables))
      await session.query({ sql, values: [] });
  });
  await checkMappedTables(driver, tables);
}
