/**
 * The store of identities in PostgreSQL, for any number of nodes that share one truth.
 *
 * ```ts skip-run
 * import { openPostgresStore } from "@alknet/store-postgres/postgres-store";
 *
 * await using store = await openPostgresStore({ url: "postgres://alknet:secret@db.example/alknet" });
 * ```
 *
 * @module
 */

import { systemClock } from "@alknet/core/clock";
import {
  type IdentityStore,
  type IdentityStoreOptions,
  openIdentityStore,
} from "@alknet/core/identity-store";
import { silentLogger } from "@alknet/core/log";
import { checkMappedTables } from "@alknet/store-sql/check-mapped-tables";
import { sqlBackend } from "@alknet/store-sql/sql-backend";
import { resolveTables, type TableMapping } from "@alknet/store-sql/table-mapping";
import { serverOfSql, type SqlLike } from "./given-sql.ts";
import { migrate } from "./migrations.ts";
import { postgresDriver } from "./postgres-driver.ts";
import type { Password, PostgresServer } from "./postgres-session.ts";
import { parsePostgresUrl } from "./postgres-url.ts";

export interface PostgresStoreOptions extends IdentityStoreOptions {
  /** Where tables of ours are; it is made if it is not there. @default "alknet" */
  readonly schema?: string | undefined;
  /** Tables that are there already. The others are ours. */
  readonly tables?: TableMapping | undefined;
  /** Read, and follow changes; the user need have no other right. @default false */
  readonly readOnly?: boolean | undefined;
  /** `false` for a pooler that gives each transaction another connection (PgBouncer before 1.21). @default true */
  readonly prepare?: boolean | undefined;
}

export type OpenPostgresStoreOptions = PostgresStoreOptions &
  (
    | {
        /** See `postgres-url.ts`. */
        readonly url: string;
        /** @default the one of the URL, or `PGPASSWORD` */
        readonly password?: Password | undefined;
        readonly sql?: undefined;
      }
    | {
        /** A `postgres()` of postgres.js: connections of our own are opened to its server, as its user. */
        readonly sql: SqlLike;
        readonly url?: undefined;
        readonly password?: undefined;
      }
  );

/**
 * Open the store in a database.
 *
 * @throws {SyntaxError} if the URL cannot be used; {@linkcode TypeError} if the mapping cannot.
 * @throws {StoreError} `STORE_UNAVAILABLE` if the server cannot be reached, or does not let us in; `STORE_NEWER` if a
 * newer alknet made the tables; `STORE_READ_ONLY` if there is something to make, and it may not be made;
 * `STORE_CORRUPT` if there are others of that name.
 */
export async function openPostgresStore(options: OpenPostgresStoreOptions): Promise<IdentityStore> {
  const { schema = "alknet", readOnly = false, prepare = true } = options;
  const { clock = systemClock, logger = silentLogger } = options;
  const server = serverOf(options);
  const tables = resolveTables(options.tables, { schema });
  const driver = postgresDriver({ server, prepare, readOnly, clock, logger });
  try {
    await migrate(driver, { schema, tables, readOnly });
    await checkMappedTables(driver, tables);
  } catch (error) {
    await driver.close();
    throw error;
  }
  return await openIdentityStore(sqlBackend(driver, { tables, clock }), options);
}

function serverOf({ url, password, sql }: OpenPostgresStoreOptions): PostgresServer {
  if (sql !== undefined) return serverOfSql(sql);
  const address = parsePostgresUrl(url);
  return password === undefined ? address : { ...address, password };
}
