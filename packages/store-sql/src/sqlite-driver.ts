/**
 * A driver for SQLite, on connections that somebody else keeps.
 *
 * Every call of SQLite is synchronous and short, and none waits for a lock: that is done here, between tries, while
 * the event loop runs. News of other processes: `PRAGMA data_version`, asked when the file is touched, and every
 * 250 ms in any case.
 *
 * @module
 */

import type { BackendState } from "@alknet/core/store-backend";
import { StoreError } from "@alknet/core/store-error";
import { patiently } from "./patience.ts";
import type { SqlDriver, SqlEvents, SqlRow, SqlSession, SqlStatement } from "./sql-driver.ts";
import { isBusy, storeError } from "./sqlite-error.ts";
import type { SqliteHandle } from "./sqlite-handle.ts";

export interface Checked {
  readonly state: BackendState;
  /** Why the connections are others than before. */
  readonly reopened?: string | undefined;
}

/** Connections to one database. What they throw is told to whoever asked. */
export interface SqliteConnections {
  readonly label: string;
  /** For transactions. Its busy timeout is 0. @throws {StoreError} if there is none at present. */
  writer(): SqliteHandle;
  /** For short queries as of now. @throws {StoreError} if there is none at present. */
  reader(): SqliteHandle;
  /** The reader is the writer: queries wait for transactions. */
  readonly shared: boolean;
  /** One of its own for reading everything, which is closed afterwards; `undefined`: there can be no other. */
  openLoader(): SqliteHandle | undefined;
  /** Another value than before: somebody has committed something. */
  version(): unknown;
  /** A transaction of ours is in the file. @throws {StoreError} if it is in a file that is no longer there. */
  committed(): void;
  /** A look-up or a transaction failed. */
  failed(error: unknown): void;
  /** See whether it is the same database still, and if it is another, open that; at least four times a second. */
  check(): Checked;
  /** Have `wake` called when the file may have changed. It may come before the change can be seen. */
  watch(wake: () => void): void;
  close(): void;
}

/** Rows in a batch: less than a millisecond. */
const BATCH = 250;

/** Between two looks when nothing was heard, in milliseconds. */
const POLL = 250;

/** A file event comes before the commit can be seen: look again after so many milliseconds. */
const SECOND_LOOKS = [1, 5];

export function sqliteDriver(connections: SqliteConnections): SqlDriver {
  return new SqliteDriver(connections);
}

class SqliteDriver implements SqlDriver {
  readonly dialect = "sqlite";
  readonly label: string;
  readonly #connections: SqliteConnections;
  #queue: Promise<unknown> = Promise.resolve();
  #events: SqlEvents | undefined;
  #version: unknown;
  #state: BackendState = { kind: "ready" };
  #poll: NodeJS.Timeout | undefined;
  #looks: NodeJS.Timeout[] = [];
  #closing: Promise<void> | undefined;

  constructor(connections: SqliteConnections) {
    this.#connections = connections;
    this.label = connections.label;
  }

  async query({ sql, values }: SqlStatement): Promise<readonly SqlRow[]> {
    const run = (): Promise<readonly SqlRow[]> =>
      this.#patiently(() => this.#connections.reader().all(sql, values));
    return await (this.#connections.shared ? this.#inTurn(run) : run());
  }

  async transaction<T>(run: (session: SqlSession) => Promise<T>): Promise<T> {
    return await this.#inTurn(() => this.#transact(run));
  }

  async #transact<T>(run: (session: SqlSession) => Promise<T>): Promise<T> {
    const writer = await this.#patiently(() => {
      const handle = this.#connections.writer();
      // Not ours: whose connection it is has begun something on it.
      if (handle.inTransaction) throw new Occupied();
      withoutWaiting(handle, () => handle.exec("BEGIN IMMEDIATE"));
      return handle;
    });
    let result: T;
    try {
      result = await run({
        query: async ({ sql, values }) => this.#guarded(() => writer.all(sql, values)),
      });
      // Where there is no WAL, whoever reads is in the way of the commit.
      await this.#patiently(() => withoutWaiting(writer, () => writer.exec("COMMIT")));
    } catch (error) {
      if (writer.inTransaction)
        this.#guarded(
          () => writer.exec("ROLLBACK"),
          () => {},
        );
      throw error;
    }
    this.#connections.committed();
    return result;
  }

  async *batches(
    queries: readonly SqlStatement[],
  ): AsyncGenerator<{ of: number; rows: readonly SqlRow[] }> {
    const loader = await this.#patiently(() => this.#connections.openLoader());
    if (loader === undefined) {
      yield* await this.#inTurn(() => this.#allAtOnce(queries));
      return;
    }
    try {
      // The moment is that of the first row that is read.
      loader.exec("BEGIN");
      for (const [of, { sql, values }] of queries.entries()) {
        const [rows, first] = await this.#patiently(() => {
          const iterator = loader.iterate(sql, values);
          return [iterator, take(iterator, BATCH)] as const;
        });
        yield { of, rows: first };
        for (let last = first; last.length === BATCH;) {
          last = this.#guarded(() => take(rows, BATCH));
          if (last.length > 0) yield { of, rows: last };
        }
      }
    } finally {
      this.#guarded(
        () => loader.close(),
        () => {},
      );
    }
  }

  /** Of a database in memory, which has one connection: what is read there must not be changed meanwhile. */
  async #allAtOnce(
    queries: readonly SqlStatement[],
  ): Promise<{ of: number; rows: readonly SqlRow[] }[]> {
    const handle = this.#connections.reader();
    return queries.flatMap(({ sql, values }, of) => {
      const rows = this.#guarded(() => handle.all(sql, values));
      const batches = [{ of, rows: rows.slice(0, BATCH) }];
      for (let at = BATCH; at < rows.length; at += BATCH) {
        batches.push({ of, rows: rows.slice(at, at + BATCH) });
      }
      return batches;
    });
  }

  async subscribe(events: SqlEvents): Promise<void> {
    this.#events = events;
    this.#version = await this.#patiently(() => this.#connections.version());
    this.#connections.watch(() => this.#heard());
    this.#poll = setInterval(() => this.#look(), POLL).unref();
  }

  /** The file was touched. */
  #heard(): void {
    if (this.#look() || this.#looks.length > 0 || this.#closing !== undefined) return;
    this.#looks = SECOND_LOOKS.map((pause, at) =>
      setTimeout(() => {
        const seen = this.#look();
        if (seen || at === SECOND_LOOKS.length - 1) this.#lookNoMore();
      }, pause).unref(),
    );
  }

  #lookNoMore(): void {
    for (const timer of this.#looks) clearTimeout(timer);
    this.#looks = [];
  }

  /** @returns whether there was something new. */
  #look(): boolean {
    if (this.#closing !== undefined || this.#events === undefined) return false;
    try {
      const { state, reopened } = this.#connections.check();
      if (reopened !== undefined) this.#become(stale(reopened));
      this.#become(state);
      if (this.#state.kind === "stale") return false;
      const version = this.#connections.version();
      if (version === this.#version) return false;
      this.#version = version;
    } catch (error) {
      if (isBusy(error)) return false;
      const { message } = storeError(error, this.label) as Error;
      this.#become(stale(message));
      return false;
    }
    this.#events.woken(true);
    return true;
  }

  #become(state: BackendState): void {
    const before = this.#state;
    if (state.kind === "ready" && before.kind === "ready") return;
    const same =
      state.kind === "stale" && before.kind === "stale" && state.reason === before.reason;
    if (same) return;
    this.#state = state;
    if (state.kind === "ready") {
      // Other connections than before: their numbers begin anew.
      this.#version = this.#connections.version();
    }
    this.#events?.state(state);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    clearInterval(this.#poll);
    this.#lookNoMore();
    await this.#queue;
    this.#connections.close();
  }

  /** One after another. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(run);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  /** Try until nobody else has it locked. */
  async #patiently<T>(run: () => T): Promise<T> {
    try {
      return await patiently(run, (error) => isBusy(error) || error instanceof Occupied);
    } catch (error) {
      this.#connections.failed(error);
      if (!(error instanceof Occupied)) throw storeError(error, this.label);
      throw new StoreError("STORE_BUSY", `${this.label} is in a transaction of its owner`, {
        hint: "end the transaction: a store needs the connection to itself while it writes",
      });
    }
  }

  #guarded<T>(run: () => T, otherwise?: (error: unknown) => T): T {
    try {
      return run();
    } catch (error) {
      this.#connections.failed(error);
      if (otherwise !== undefined) return otherwise(error);
      throw storeError(error, this.label);
    }
  }
}

function stale(reason: string): BackendState {
  return { kind: "stale", reason, since: Date.now() };
}

/** The connection has a transaction that is not ours. */
class Occupied extends Error {}

/** SQLite would wait for a lock and block the event loop: as long as the connection's owner has set. */
function withoutWaiting(handle: SqliteHandle, run: () => void): void {
  const [[timeout] = []] = handle.all("PRAGMA busy_timeout", []);
  if (timeout === 0 || timeout === 0n) return run();
  handle.exec("PRAGMA busy_timeout = 0");
  try {
    run();
  } finally {
    handle.exec(`PRAGMA busy_timeout = ${Number(timeout)}`);
  }
}

function take(rows: Iterator<SqlRow>, count: number): SqlRow[] {
  const taken: SqlRow[] = [];
  while (taken.length < count) {
    const next = rows.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}
