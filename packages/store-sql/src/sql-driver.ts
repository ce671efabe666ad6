/**
 * What a database has to do so that {@linkcode sqlBackend} makes a store of it: run statements.
 *
 * A driver knows its database's connections, locks and news; it knows no table of ours.
 *
 * @module
 */

import type { BackendState } from "@alknet/core/store-backend";

/** What goes into a statement, beside its text. */
export type SqlValue = string | number | null | Uint8Array;

/** A text with placeholders (`?` for SQLite, `$1` for PostgreSQL), and what they stand for. */
export interface SqlStatement {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** Values in the order in which the statement asks for them, as the database's library gives them. */
export type SqlRow = readonly unknown[];

export type SqlDialect = "sqlite" | "postgres";

/** A connection with a transaction on it. */
export interface SqlSession {
  /** @returns rows of a query, or of `RETURNING`; at most some thousand are asked for. */
  query(statement: SqlStatement): Promise<readonly SqlRow[]>;
}

export interface SqlEvents {
  /**
   * There may be something to read in the table of notifications.
   *
   * @param wrote somebody has committed something, whatever it was: if there turns out to be no notification
   * of it, its writer has forgotten that.
   */
  woken(wrote: boolean): void;
  /**
   * A notification that came by itself, as PostgreSQL's do. Those of ours are in the table as well.
   *
   * @param payload JSON as described in `notification.ts`, or nothing.
   */
  notified(channel: string, payload: string | undefined): void;
  /** Ready means: after a loss. Everything is read again then. */
  state(state: BackendState): void;
}

/** Everything throws {@linkcode StoreError}, with the code that fits. */
export interface SqlDriver {
  /** For messages: a path, or an address without its password. */
  readonly label: string;
  readonly dialect: SqlDialect;
  /** One statement that changes nothing, as of now; never inside a transaction of {@linkcode transaction}. */
  query(statement: SqlStatement): Promise<readonly SqlRow[]>;
  /**
   * Begin, run, commit; what `run` throws is thrown after a rollback.
   *
   * One at a time, and no other store writes meanwhile, in whatever process: what `run` reads is still so when
   * it writes. Resolves once it is durable. Other processes are told of it, as far as the driver can do that
   * sooner than they look by themselves.
   */
  transaction<T>(run: (session: SqlSession) => Promise<T>): Promise<T>;
  /**
   * Rows of several queries as of one moment, some hundred at a time. `of` is the index of the query; each
   * query has at least one batch, and it may be empty.
   *
   * Whoever stops early calls `return()`, as `for await` does.
   */
  batches(
    queries: readonly SqlStatement[],
  ): AsyncIterable<{ readonly of: number; readonly rows: readonly SqlRow[] }>;
  /** Called once. */
  subscribe(events: SqlEvents): Promise<void>;
  /** Idempotent. Closes what the driver has opened. */
  close(): Promise<void>;
}
