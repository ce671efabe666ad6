/**
 * One face for the libraries of SQLite: `node:sqlite`, and better-sqlite3 (13).
 *
 * Both are recognised by what they can do; neither is imported.
 *
 * @module
 */

import type { SqlRow, SqlValue } from "./sql-driver.ts";

/** A connection. Everything is synchronous. */
export interface SqliteHandle {
  all(sql: string, values: readonly SqlValue[]): readonly SqlRow[];
  /** Rows one after another; the statement is open until the last, or until `return()`. */
  iterate(sql: string, values: readonly SqlValue[]): Iterator<SqlRow>;
  exec(sql: string): void;
  readonly inTransaction: boolean;
  /** The file, or `undefined` if it is in memory. */
  readonly path: string | undefined;
  /** A connection of its own to the same file, for reading. @throws what the library throws. */
  openReader(): SqliteHandle;
  close(): void;
}

/** What we use of `DatabaseSync` of `node:sqlite`. */
export interface NodeSqliteLike {
  prepare(sql: string): {
    all(...values: SqlValue[]): unknown[];
    iterate(...values: SqlValue[]): Iterator<unknown>;
    setReturnArrays(enabled: boolean): void;
    setReadBigInts(enabled: boolean): void;
  };
  exec(sql: string): void;
  location(): string | null;
  readonly isTransaction: boolean;
  close(): void;
}

/** What we use of better-sqlite3's `Database`. */
export interface BetterSqliteLike {
  prepare(sql: string): BetterStatement;
  exec(sql: string): unknown;
  pragma(text: string): unknown;
  readonly inTransaction: boolean;
  readonly memory: boolean;
  readonly name: string;
  close(): unknown;
}

interface BetterStatement {
  readonly reader: boolean;
  all(...values: SqlValue[]): unknown[];
  run(...values: SqlValue[]): unknown;
  iterate(...values: SqlValue[]): Iterator<unknown>;
  raw(enabled?: boolean): BetterStatement;
  safeIntegers(enabled?: boolean): BetterStatement;
}

/** Most statements that a connection keeps prepared. */
const MAX_PREPARED = 128;

/** How whole numbers are given. As `number`, a larger one than that is exact for fails the whole query. */
export type Integers = "number" | "bigint";

export function isNodeSqlite(value: unknown): value is NodeSqliteLike {
  return hasMethods(value, ["prepare", "exec", "location", "close"]) && "isTransaction" in value;
}

export function isBetterSqlite(value: unknown): value is BetterSqliteLike {
  return hasMethods(value, ["prepare", "exec", "pragma", "close"]) && "inTransaction" in value;
}

export function nodeSqliteHandle(
  database: NodeSqliteLike,
  integers: Integers = "bigint",
): SqliteHandle {
  const prepare = prepared((sql) => {
    const statement = database.prepare(sql);
    statement.setReturnArrays(true);
    statement.setReadBigInts(integers === "bigint");
    return statement;
  });
  return {
    all: (sql, values) => prepare(sql).all(...values) as SqlRow[],
    iterate: (sql, values) => prepare(sql).iterate(...values) as Iterator<SqlRow>,
    exec: (sql) => database.exec(sql),
    get inTransaction() {
      return database.isTransaction;
    },
    get path() {
      return database.location() ?? undefined;
    },
    openReader() {
      type Open = new (path: string, options: { readOnly: boolean }) => NodeSqliteLike;
      const Database = database.constructor as Open;
      return nodeSqliteHandle(new Database(database.location()!, { readOnly: true }), integers);
    },
    close: () => database.close(),
  };
}

export function betterSqliteHandle(database: BetterSqliteLike): SqliteHandle {
  const prepare = prepared((sql) => {
    const statement = database.prepare(sql);
    return statement.reader ? statement.raw(true).safeIntegers(true) : statement;
  });
  return {
    all(sql, values) {
      const statement = prepare(sql);
      if (statement.reader) return statement.all(...values) as SqlRow[];
      statement.run(...values);
      return [];
    },
    iterate: (sql, values) => prepare(sql).iterate(...values) as Iterator<SqlRow>,
    exec: (sql) => void database.exec(sql),
    get inTransaction() {
      return database.inTransaction;
    },
    get path() {
      return database.memory || database.name === "" ? undefined : database.name;
    },
    openReader() {
      type Open = new (path: string, options: { readonly: boolean }) => BetterSqliteLike;
      const Database = database.constructor as Open;
      return betterSqliteHandle(new Database(database.name, { readonly: true }));
    },
    close: () => void database.close(),
  };
}

/** Statements by their text, of which there are few. */
function prepared<S>(prepare: (sql: string) => S): (sql: string) => S {
  const known = new Map<string, S>();
  return (sql) => {
    let statement = known.get(sql);
    if (statement !== undefined) return statement;
    statement = prepare(sql);
    const [oldest] = known.keys();
    if (known.size >= MAX_PREPARED && oldest !== undefined) known.delete(oldest);
    known.set(sql, statement);
    return statement;
  };
}

function hasMethods(value: unknown, names: readonly string[]): value is object {
  return (
    typeof value === "object" &&
    value !== null &&
    names.every((name) => typeof (value as Record<string, unknown>)[name] === "function")
  );
}
