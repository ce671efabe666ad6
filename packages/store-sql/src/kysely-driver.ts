/**
 * A driver for whatever Kysely has a dialect for that speaks SQLite's or PostgreSQL's SQL.
 *
 * Kysely itself is imported when it is needed: it is an optional peer of this package. News are asked for, four times
 * a second: Kysely has no way to listen.
 *
 * @module
 */

import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { StoreError } from "@alknet/core/store-error";
import { PATIENCE, patiently } from "./patience.ts";
import type {
  SqlDialect,
  SqlDriver,
  SqlEvents,
  SqlRow,
  SqlSession,
  SqlStatement,
  SqlValue,
} from "./sql-driver.ts";
import { isBusy, storeError } from "./sqlite-error.ts";

/** What we use of Kysely (0.29). */
export interface KyselyLike {
  selectFrom(table: never): unknown;
  connection(): { execute<T>(run: (connection: KyselyLike) => Promise<T>): Promise<T> };
  executeQuery(query: never): Promise<{ readonly rows: readonly unknown[] }>;
  withoutPlugins(): KyselyLike;
  readonly isTransaction: boolean;
}

/** Between two looks, in milliseconds. */
const POLL = 250;

/** Rows that are asked for at once. */
const BATCH = 250;

/** Of the lock by which stores on PostgreSQL write one after another; any number that nobody else uses. */
export const ADVISORY_LOCK = 0x61_6c_6b_6e;

export function isKysely(value: unknown): value is KyselyLike {
  if (typeof value !== "object" || value === null) return false;
  const { selectFrom, executeQuery, connection, withoutPlugins } = value as Record<string, unknown>;
  return [selectFrom, executeQuery, connection, withoutPlugins].every(
    (each) => typeof each === "function",
  );
}

/** @throws {TypeError} if it speaks another SQL, or is inside a transaction. */
export async function kyselyDriver(given: KyselyLike): Promise<SqlDriver> {
  if (given.isTransaction) {
    throw new TypeError(
      "cannot make a store of a transaction: expected the Kysely instance itself",
    );
  }
  // Plugins change names, which are right already.
  const database = given.withoutPlugins();
  const { CompiledQuery } = await import("kysely");
  const raw = (sql: string, values: readonly SqlValue[] = []): never =>
    CompiledQuery.raw(sql, [...values]) as never;
  return new KyselyDriver(database, dialectOf(database), raw);
}

type Raw = (sql: string, values?: readonly SqlValue[]) => never;

class KyselyDriver implements SqlDriver {
  readonly label: string;
  readonly dialect: SqlDialect;
  readonly #database: KyselyLike;
  readonly #raw: Raw;
  readonly #underWay = new Set<Promise<unknown>>();
  #queue: Promise<unknown> = Promise.resolve();
  #poll: NodeJS.Timeout | undefined;
  #failing = false;
  #closing: Promise<void> | undefined;

  constructor(database: KyselyLike, dialect: SqlDialect, raw: Raw) {
    this.#database = database;
    this.#raw = raw;
    this.dialect = dialect;
    this.label = `a database of Kysely (${dialect})`;
  }

  async query(statement: SqlStatement): Promise<readonly SqlRow[]> {
    return await this.#during(this.#patiently(() => this.#run(this.#database, statement)));
  }

  async transaction<T>(run: (session: SqlSession) => Promise<T>): Promise<T> {
    const written = this.#queue.then(() =>
      this.#within("BEGIN IMMEDIATE", async (connection) => {
        if (this.dialect === "postgres") {
          await connection.executeQuery(
            this.#raw("SELECT pg_advisory_xact_lock($1)", [ADVISORY_LOCK]),
          );
        }
        return await run({ query: (statement) => this.#run(connection, statement) });
      }),
    );
    this.#queue = written.catch(() => {});
    return await this.#during(written);
  }

  async *batches(
    queries: readonly SqlStatement[],
  ): AsyncGenerator<{ of: number; rows: readonly SqlRow[] }> {
    // All of it, and then in parts: a connection cannot be lent to a generator that may never be asked again.
    const reading = this.#within("BEGIN", async (connection) => {
      const results: (readonly SqlRow[])[] = [];
      for (const query of queries) results.push(await this.#run(connection, query));
      return results;
    });
    const all = await this.#during(reading);
    for (const [of, rows] of all.entries()) {
      yield { of, rows: rows.slice(0, BATCH) };
      for (let at = BATCH; at < rows.length; at += BATCH) {
        yield { of, rows: rows.slice(at, at + BATCH) };
      }
    }
  }

  async subscribe(events: SqlEvents): Promise<void> {
    let looking = false;
    const look = async (): Promise<void> => {
      if (looking || this.#closing !== undefined) return;
      looking = true;
      try {
        await this.#during(this.#run(this.#database, { sql: "SELECT 1", values: [] }));
        if (this.#failing) {
          this.#failing = false;
          events.state({ kind: "ready" });
        }
        events.woken(false);
      } catch (error) {
        if (isBusy(error) || this.#failing || this.#closing !== undefined) return;
        this.#failing = true;
        const { message } = error as Error;
        events.state({ kind: "stale", reason: message, since: Date.now() });
      } finally {
        looking = false;
      }
    };
    this.#poll = setInterval(() => void look(), POLL).unref();
  }

  close(): Promise<void> {
    clearInterval(this.#poll);
    // The database is its owner's, and stays open; nothing of ours goes on in it.
    return (this.#closing ??= this.#finished());
  }

  /** Writes for as long as they take; looks, of a server that is lost, for a while. */
  async #finished(): Promise<void> {
    await this.#queue;
    const late = sleep(PATIENCE, "late", { ref: false });
    while (this.#underWay.size > 0) {
      // Who has waited for one of them may go on with another.
      const over = Promise.allSettled(this.#underWay).then(() => turn());
      if ((await Promise.race([over, late])) === "late") return;
    }
  }

  async #during<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(work);
    }
  }

  async #run(connection: KyselyLike, { sql, values }: SqlStatement): Promise<readonly SqlRow[]> {
    const { rows } = await connection.executeQuery(this.#raw(sql, values));
    // Objects, whose keys are in the order of the columns.
    return rows.map((row) => Object.values(row as object));
  }

  /** A transaction, with `begin` as it is begun in SQLite. */
  async #within<T>(begin: string, run: (connection: KyselyLike) => Promise<T>): Promise<T> {
    try {
      return await this.#database.connection().execute(async (connection) => {
        const isWrite = begin !== "BEGIN";
        const postgres = isWrite ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        const statement = this.dialect === "sqlite" ? begin : postgres;
        await this.#patiently(() => connection.executeQuery(this.#raw(statement)));
        try {
          const result = await run(connection);
          await this.#patiently(() => connection.executeQuery(this.#raw("COMMIT")));
          return result;
        } catch (error) {
          // It may be over already, by the error itself.
          await connection.executeQuery(this.#raw("ROLLBACK")).catch(() => {});
          throw error;
        }
      });
    } catch (error) {
      throw this.#storeError(error);
    }
  }

  async #patiently<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await patiently(run, isBusy);
    } catch (error) {
      throw this.#storeError(error);
    }
  }

  #storeError(error: unknown): unknown {
    const meant = this.dialect === "sqlite" ? storeError(error, this.label) : error;
    const { code } = (meant ?? {}) as { code?: unknown };
    // https://www.postgresql.org/docs/current/errcodes-appendix.html, and what sockets say.
    const isLoss =
      typeof code === "string" && /^(08|57P0)|^E(CONN|PIPE|HOST|NOTFOUND|TIMEDOUT)/.test(code);
    if (!isLoss) return meant;
    return new StoreError("STORE_UNAVAILABLE", `cannot reach ${this.label}`, { cause: error });
  }
}

/** By what Kysely makes of a query: `"x" = ?` or `"x" = $1`. */
function dialectOf(database: KyselyLike): SqlDialect {
  interface Builder {
    select(column: string): Builder;
    where(column: string, operator: string, value: number): Builder;
    compile(): { readonly sql: string };
  }
  const builder = database.selectFrom("t" as never) as Builder;
  const { sql } = builder.select("x").where("x", "=", 1).compile();
  if (sql.endsWith('"x" = ?')) return "sqlite";
  if (sql.endsWith('"x" = $1')) return "postgres";
  throw new TypeError(
    `cannot make a store of this Kysely instance: expected a dialect of SQLite or PostgreSQL, got one that writes ${sql}`,
  );
}
