/**
 * Whether tables that somebody has named are there, with their columns.
 *
 * @module
 */

import { StoreError } from "@alknet/core/store-error";
import type { SqlDriver } from "./sql-driver.ts";
import { columnsOf, type ResolvedTables, TABLE_NAMES } from "./table-mapping.ts";

/**
 * Look for each mapped table and its columns.
 *
 * @throws {TypeError} that names the table and its columns; {@linkcode StoreError} if the database cannot be asked.
 */
export async function checkMappedTables(driver: SqlDriver, tables: ResolvedTables): Promise<void> {
  for (const table of TABLE_NAMES) {
    const { mapped, quoted, columns, label } = tables[table];
    if (!mapped) continue;
    const wanted = columnsOf(table).flatMap((name) => columns.get(name) ?? []);
    try {
      // SQLite takes a quoted name that is no column for a text, unless it is said whose column it is.
      const names = wanted.map((name) => `t.${name}`).join(", ");
      await driver.query({ sql: `SELECT ${names} FROM ${quoted} AS t LIMIT 0`, values: [] });
    } catch (error) {
      const cause = error instanceof StoreError ? missing(error) : (error as Error);
      if (cause === undefined) throw error;
      throw new TypeError(
        `cannot map ${table} to table ${label}: ${cause.message}; expected the columns ${wanted.join(", ")}`,
        { cause },
      );
    }
  }
}

/** What PostgreSQL says of a table or a column that it does not have: class 42 of its codes. */
function missing({ cause }: StoreError): Error | undefined {
  const { code } = (cause ?? {}) as { code?: unknown };
  return cause instanceof Error && /^42[0-9A-Z]{3}$/.test(String(code)) && code !== "42501"
    ? cause
    : undefined;
}
