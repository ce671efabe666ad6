/**
 * A driver for PostgreSQL, on four connections: one to listen, one for short queries, one for transactions, one for
 * reading everything. The last three are opened when they are needed.
 *
 * Writers are kept apart by an advisory lock, held for a transaction, and not by SERIALIZABLE: a change is the caller's
 * code and must not be run twice, and a program that knows nothing of us is not held to SERIALIZABLE anyway. What such a
 * program does to a row meanwhile is waited for by `FOR UPDATE`.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "@alknet/core/clock";
import type { Logger } from "@alknet/core/log";
import { StoreError } from "@alknet/core/store-error";
import { ADVISORY_LOCK } from "@alknet/store-sql/kysely-driver";
import { CHANNELS } from "@alknet/store-sql/notification";
import type {
  SqlDriver,
  SqlEvents,
  SqlRow,
  SqlSession,
  SqlStatement,
} from "@alknet/store-sql/sql-driver";
import { quoteName } from "@alknet/store-sql/table-mapping";
import { isLoss, postgresError } from "./postgres-error.ts";
import { openSession, type PostgresServer, type PostgresSession } from "./postgres-session.ts";
import { type Lease, SessionKeeper } from "./session-keeper.ts";

export interface PostgresDriverOptions {
  readonly server: PostgresServer;
  readonly prepare: boolean;
  readonly readOnly: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rows in a batch: some milliseconds of reading. */
const BATCH = 500;

/** Between two looks at the table of notifications when nothing was heard, in milliseconds. */
const POLL = 2_000;

/** How long the listening connection may be without an answer before it counts as lost, in milliseconds. */
const LISTENER_PATIENCE = 10_000;

/** Between two tries to connect again, in milliseconds: the first, and the longest. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 5_000;

/** All in one message to the server. A client that vanishes in the middle does not keep the others out for long. */
const BEGIN_WRITE = [
  "BEGIN ISOLATION LEVEL READ COMMITTED",
  "SET LOCAL lock_timeout = '10s'",
  "SET LOCAL statement_timeout = '20s'",
  "SET LOCAL idle_in_transaction_session_timeout = '20s'",
  `SELECT pg_advisory_xact_lock(${ADVISORY_LOCK})`,
].join("; ");

const BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

export function postgresDriver(options: PostgresDriverOptions): SqlDriver {
  return new PostgresDriver(options);
}

class PostgresDriver implements SqlDriver {
  readonly dialect = "postgres";
  readonly label: string;
  readonly #options: PostgresDriverOptions;
  readonly #reader: SessionKeeper;
  readonly #writer: SessionKeeper;
  readonly #loader: SessionKeeper;
  readonly #end = new AbortController();
  #queue: Promise<unknown> = Promise.resolve();
  #events: SqlEvents | undefined;
  #listener: PostgresSession | undefined;
  #poll: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PostgresDriverOptions) {
    this.#options = options;
    this.label = options.server.label;
    const open = (): Promise<PostgresSession> => this.#open({});
    this.#reader = new SessionKeeper(open);
    this.#writer = new SessionKeeper(open);
    this.#loader = new SessionKeeper(open);
  }

  async query(statement: SqlStatement): Promise<readonly SqlRow[]> {
    return await this.#storeErrors(async () => {
      for (;;) {
        using lease = await this.#reader.lease();
        try {
          return await lease.session.query(statement);
        } catch (error) {
          // It was idle when the server was started again, say. Reading twice does no harm.
          if (!lease.isOld || !isLoss(error)) throw error;
          lease.session.destroy();
        }
      }
    });
  }

  async transaction<T>(run: (session: SqlSession) => Promise<T>): Promise<T> {
    if (this.#options.readOnly) {
      throw new StoreError("STORE_READ_ONLY", `${this.label} was opened for reading`);
    }
    const turn = this.#queue.then(() => this.#transact(run));
    this.#queue = turn.catch(() => {});
    return await turn;
  }

  async #transact<T>(run: (session: SqlSession) => Promise<T>): Promise<T> {
    using lease = await this.#storeErrors(() => begun(this.#writer, BEGIN_WRITE));
    const { session } = lease;
    let result: T;
    try {
      result = await run({
        query: (statement) => this.#storeErrors(() => session.query(statement)),
      });
    } catch (error) {
      await rollback(session);
      throw error;
    }
    await this.#commit(session);
    return result;
  }

  async #commit(session: PostgresSession): Promise<void> {
    let done: string;
    try {
      done = await session.run("COMMIT");
    } catch (error) {
      await rollback(session);
      if (!isLoss(error)) throw postgresError(error, this.label);
      throw new StoreError(
        "STORE_UNAVAILABLE",
        `the connection to ${this.label} was lost while a change was committed: it may have been made, or not`,
        { cause: error, hint: "see whether it is there, and make it again if it is not" },
      );
    }
    // A transaction in which something has failed is rolled back by COMMIT, without an error.
    if (done !== "COMMIT") {
      throw new Error(`cannot commit: expected COMMIT from ${this.label}, got ${done}`);
    }
  }

  async *batches(
    queries: readonly SqlStatement[],
  ): AsyncGenerator<{ of: number; rows: readonly SqlRow[] }> {
    using lease = await this.#storeErrors(() => begun(this.#loader, BEGIN_READ));
    const { session } = lease;
    try {
      for (const [of, query] of queries.entries()) {
        let isFirst = true;
        for await (const rows of this.#fetch(session, query, `alknet_${of}`)) {
          if (isFirst || rows.length > 0) yield { of, rows };
          isFirst = false;
        }
      }
    } finally {
      // There is nothing to commit; its cursors go with it.
      await rollback(session);
    }
  }

  /** Rows of a query, one batch being asked for while the one before is looked at. */
  async *#fetch(
    session: PostgresSession,
    { sql, values }: SqlStatement,
    name: string,
  ): AsyncGenerator<readonly SqlRow[]> {
    const fetch = (): Promise<readonly SqlRow[]> => {
      const rows = session.query({ sql: `FETCH ${BATCH} FROM ${name}`, values: [] });
      // If nobody asks for more, nobody is there to hear that it failed.
      rows.catch(() => {});
      return rows;
    };
    await this.#storeErrors(() =>
      session.query({ sql: `DECLARE ${name} NO SCROLL CURSOR FOR ${sql}`, values }),
    );
    let next: Promise<readonly SqlRow[]> | undefined = fetch();
    while (next !== undefined) {
      const coming: Promise<readonly SqlRow[]> = next;
      const rows = await this.#storeErrors(() => coming);
      next = rows.length === BATCH ? fetch() : undefined;
      yield rows;
    }
  }

  async subscribe(events: SqlEvents): Promise<void> {
    this.#events = events;
    await this.#storeErrors(() => this.#listen());
  }

  async #listen(): Promise<void> {
    let opened: PostgresSession | undefined;
    const session = await this.#open({
      patience: LISTENER_PATIENCE,
      onnotify: (channel, payload) => {
        this.#events?.notified(channel, payload === "" ? undefined : payload);
      },
      onlost: (reason) => {
        // One that was lost before it was used is told of by whoever opened it.
        if (opened !== undefined && this.#listener === opened) void this.#relisten(reason);
      },
    });
    opened = session;
    try {
      await session.run(CHANNELS.map((channel) => `LISTEN ${quoteName(channel)}`).join("; "));
    } catch (error) {
      session.destroy();
      throw error;
    }
    if (session.isLost) throw new Error("the server closed the connection");
    this.#listener = session;
    this.#pollSoon(session);
  }

  /** Behind some poolers nothing is ever heard, and some connections die without a word. */
  #pollSoon(session: PostgresSession): void {
    this.#poll = setTimeout(() => {
      session.run("SELECT 1").then(
        () => {
          if (this.#listener !== session || this.#closing !== undefined) return;
          this.#events?.woken(false);
          this.#pollSoon(session);
        },
        (error: Error) => {
          session.destroy();
          // One that gave no answer was lost, and has said so.
          if (this.#listener === session) void this.#relisten(error.message);
        },
      );
    }, POLL).unref();
  }

  /** Try until there is a listening connection again. The peers of before stay in force. */
  async #relisten(reason: string): Promise<void> {
    clearTimeout(this.#poll);
    this.#listener = undefined;
    if (this.#closing !== undefined) return;
    const { clock, logger } = this.#options;
    const text = `the connection to ${this.label} was lost: ${reason}`;
    this.#events?.state({ kind: "stale", reason: text, since: clock.wallTime() });
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      // A spread, so that the nodes of a fleet do not all come at once.
      const signal = this.#end.signal;
      await sleep(pause * (0.5 + Math.random()), undefined, { ref: false, signal }).catch(() => {});
      if (this.#closing !== undefined) return;
      try {
        await this.#listen();
        break;
      } catch (error) {
        logger.debug({ store: this.label, err: error }, "cannot listen again yet");
      }
    }
    if (this.#closing === undefined) this.#events?.state({ kind: "ready" });
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    clearTimeout(this.#poll);
    await this.#queue;
    const keepers = [this.#reader, this.#writer, this.#loader];
    await Promise.all([this.#listener?.close(), ...keepers.map((each) => each.close())]);
    // What is being opened at this moment.
    this.#end.abort();
  }

  #open(
    options: Omit<Parameters<typeof openSession>[1], "prepare" | "signal">,
  ): Promise<PostgresSession> {
    const { server, prepare } = this.#options;
    return openSession(server, { ...options, prepare, signal: this.#end.signal });
  }

  async #storeErrors<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw postgresError(error, this.label);
    }
  }
}

/** A session with a transaction on it. */
async function begun(keeper: SessionKeeper, begin: string): Promise<Lease> {
  for (;;) {
    const lease = await keeper.lease();
    try {
      await lease.session.run(begin);
      return lease;
    } catch (error) {
      await rollback(lease.session);
      lease[Symbol.dispose]();
      // It was idle when it was lost, and nothing was begun.
      if (!lease.isOld || !isLoss(error)) throw error;
    }
  }
}

async function rollback(session: PostgresSession): Promise<void> {
  try {
    await session.run("ROLLBACK");
  } catch {
    // What is not known to be out of its transaction is not used again; the server rolls back by itself.
    session.destroy();
  }
}
