/**
 * The versions of our tables, and the way from each to the next.
 *
 * Each table has a version of its own, kept in the table `versions`: one that was mapped to somebody's table yesterday
 * may be ours today.
 *
 * @module
 */

import { StoreError } from "@alknet/core/store-error";
import type { SqlDriver, SqlRow, SqlSession } from "@alknet/store-sql/sql-driver";
import {
  quoteName,
  type ResolvedTables,
  TABLE_NAMES,
  type TableName,
} from "@alknet/store-sql/table-mapping";
import {
  API_KEYS,
  AUDIT,
  CREDENTIALS,
  INVITATIONS,
  NOTIFICATIONS,
  PEERS,
} from "./migrations/1-tables.ts";
import type { Step } from "./migrations/step.ts";

export type Migrations = Readonly<Record<TableName, readonly Step[]>>;

/** `MIGRATIONS[table][version]` leads to `version + 1`. Once released, one is never changed. */
export const MIGRATIONS: Migrations = {
  peers: [PEERS],
  api_keys: [API_KEYS],
  credentials: [CREDENTIALS],
  invitations: [INVITATIONS],
  notifications: [NOTIFICATIONS],
  audit: [AUDIT],
};

export interface MigrateOptions {
  /** Where our tables are, as people write it. */
  readonly schema: string;
  readonly tables: ResolvedTables;
  readonly readOnly: boolean;
  /** @default MIGRATIONS */
  readonly migrations?: Migrations | undefined;
}

/**
 * Bring the tables that are ours to their newest versions: all of them in one transaction, or none.
 *
 * @throws {StoreError} `STORE_NEWER`; `STORE_CORRUPT` if a table of that name is somebody else's; `STORE_READ_ONLY` if
 * there is something to do that may not be done.
 */
export async function migrate(driver: SqlDriver, options: MigrateOptions): Promise<void> {
  const { schema, tables, readOnly, migrations = MIGRATIONS } = options;
  const ours = TABLE_NAMES.filter((name) => !tables[name].mapped);
  if (ours.length === 0) return;
  const isDone = (versions: ReadonlyMap<string, number>): boolean =>
    ours.every((name) => versions.get(name) === migrations[name].length);

  // Most often there is nothing to do, and who may only read can open the store.
  const found = await readVersions((statement) => driver.query(statement), schema);
  check(found, migrations, driver.label);
  if (isDone(found)) return;
  if (readOnly) {
    throw new StoreError(
      "STORE_READ_ONLY",
      `cannot read ${driver.label}: its tables are not up to date`,
      {
        hint: "open it once for writing, which brings them up to date",
      },
    );
  }
  await driver.transaction(async (session) => {
    // Another process may just have done it: here we are alone.
    const versions = await readVersions((statement) => session.query(statement), schema);
    check(versions, migrations, driver.label);
    if (isDone(versions)) return;
    await makeSchema(session, schema);
    for (const name of ours) {
      await bringForward(session, name, { ...options, migrations, label: driver.label }, versions);
    }
  });
}

function check(versions: ReadonlyMap<string, number>, migrations: Migrations, label: string): void {
  for (const [name, version] of versions) {
    const known = Object.hasOwn(migrations, name) ? migrations[name as TableName].length : 0;
    if (version <= known) continue;
    const text = `table ${name} has version ${version}, we know up to ${known}`;
    throw new StoreError("STORE_NEWER", `${label} was written by a newer alknet: ${text}`, {
      hint: "update alknet on this machine",
    });
  }
}

async function readVersions(
  query: SqlSession["query"],
  schema: string,
): Promise<ReadonlyMap<string, number>> {
  const table = `${quoteName(schema)}.versions`;
  const [[exists] = []] = await query({
    sql: "SELECT to_regclass($1) IS NOT NULL",
    values: [table],
  });
  if (exists !== true) return new Map();
  const rows = await query({ sql: `SELECT name, version FROM ${table}`, values: [] });
  return new Map(rows.map(([name, version]: SqlRow) => [String(name), Number(version)]));
}

async function makeSchema(session: SqlSession, schema: string): Promise<void> {
  const quoted = quoteName(schema);
  // `IF NOT EXISTS` asks for the right to make schemas, even if there is nothing to make.
  const [[exists] = []] = await session.query({
    sql: "SELECT to_regnamespace($1) IS NOT NULL",
    values: [quoted],
  });
  if (exists !== true) await session.query({ sql: `CREATE SCHEMA ${quoted}`, values: [] });
  await session.query({
    sql: `CREATE TABLE IF NOT EXISTS ${quoted}.versions (name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL)`,
    values: [],
  });
}

async function bringForward(
  session: SqlSession,
  name: TableName,
  { schema, tables, migrations, label }: MigrateOptions & { migrations: Migrations; label: string },
  versions: ReadonlyMap<string, number>,
): Promise<void> {
  const steps = migrations[name];
  const from = versions.get(name) ?? 0;
  if (from === steps.length) return;
  const { quoted } = tables[name];
  for (const step of steps.slice(from)) {
    for (const sql of step(quoted, (index) => quoteName(`${name}_${index}`))) {
      try {
        await session.query({ sql, values: [] });
      } catch (error) {
        throw (error as { code?: unknown }).code === DUPLICATE_TABLE
          ? taken(label, quoted, error)
          : error;
      }
    }
  }
  await session.query({
    sql: `INSERT INTO ${quoteName(schema)}.versions (name, version) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET version = excluded.version`,
    values: [name, steps.length],
  });
}

const DUPLICATE_TABLE = "42P07";

function taken(label: string, quoted: string, cause: unknown): StoreError {
  return new StoreError("STORE_CORRUPT", `${label} has a table ${quoted} that is not ours`, {
    cause,
    hint: "name another schema for our tables; to use that table, map it",
  });
}
