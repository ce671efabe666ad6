/**
 * News from the table of notifications: what is read when a driver says that there may be some.
 *
 * @module
 */

import type { BackendChange, BackendEvents, ChangedNames } from "@alknet/core/store-backend";
import { readCount } from "./column.ts";
import { isInTable, parseNotification } from "./notification.ts";
import type { SqlDriver } from "./sql-driver.ts";
import type { Statements } from "./statements.ts";

/** More news at once than this are one: anything may have changed. */
const MAX_NEWS = 256;

/** PostgreSQL gives numbers in the order of asking, and commits in any: so many are looked at again. */
const OVERLAP = { sqlite: 0, postgres: 64 };

/** How long after a commit that nobody told of everything is read, in milliseconds. */
const FORGOTTEN_PAUSE = 800;

/** The same, where a commit was told of that concerns nobody: another may hide behind it. */
const HIDDEN_PAUSE = 10_000;

export class NotificationReader {
  readonly #driver: SqlDriver;
  readonly #sql: Statements;
  #events: BackendEvents | undefined;
  /** Number of the newest that was told of. */
  #last = 0;
  /** Numbers within the overlap that were told of. */
  #told = new Set<number>();
  #reading = false;
  /** Woken while reading: read once more. */
  #again: { wrote: boolean } | undefined;
  #reload: { at: number; timer: NodeJS.Timeout } | undefined;
  #closed = false;

  constructor(driver: SqlDriver, sql: Statements) {
    this.#driver = driver;
    this.#sql = sql;
  }

  async watch(events: BackendEvents): Promise<void> {
    this.#events = events;
    await this.#begin();
    await this.#driver.subscribe({
      woken: (wrote) => this.#woken(wrote),
      notified: (channel, payload) => {
        // One of ours: in the table it has its number, and those before it are there, too.
        if (isInTable(payload)) return this.#woken(false);
        const news = parseNotification(channel, payload);
        if (news.kind === "changed") events.changed({ change: 0, names: news.names });
      },
      state: (state) => {
        // Whatever was said in the meantime: everything is read again.
        if (state.kind === "ready") this.#begin().catch(() => {});
        events.state(state);
      },
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reload?.timer);
  }

  /** What was told before is in what is loaded afterwards. */
  async #begin(): Promise<void> {
    const [row] = await this.#driver.query(this.#sql.newest);
    this.#last = readCount("id", row?.[0]);
    this.#told.clear();
    const overlap = OVERLAP[this.#driver.dialect];
    if (overlap === 0) return;
    const before = this.#sql.notifications(Math.max(0, this.#last - overlap), overlap);
    for (const [id] of await this.#driver.query(before)) {
      if (readCount("id", id) <= this.#last) this.#told.add(readCount("id", id));
    }
  }

  #woken(wrote: boolean): void {
    if (this.#closed) return;
    if (this.#reading) {
      this.#again = { wrote: wrote || (this.#again?.wrote ?? false) };
      return;
    }
    this.#reading = true;
    void this.#readAll(wrote).finally(() => (this.#reading = false));
  }

  async #readAll(wrote: boolean): Promise<void> {
    let next: { wrote: boolean } | undefined = { wrote };
    while (next !== undefined && !this.#closed) {
      this.#again = undefined;
      try {
        const found = await this.#read();
        if (next.wrote && found !== "changed") {
          this.#reloadIn(found === "nothing" ? FORGOTTEN_PAUSE : HIDDEN_PAUSE);
        }
      } catch {
        // The table cannot be read: reading everything will fail as well, and say so.
        this.#reloadIn(FORGOTTEN_PAUSE);
        return;
      }
      next = this.#again;
    }
  }

  async #read(): Promise<"changed" | "other" | "nothing"> {
    const overlap = OVERLAP[this.#driver.dialect];
    const after = Math.max(0, this.#last - overlap);
    const limit = MAX_NEWS + overlap;
    const rows = await this.#driver.query(this.#sql.notifications(after, limit));
    if (this.#closed) return "nothing";
    if (rows.length === limit) {
      await this.#begin();
      this.#events?.changed({ change: this.#last, names: undefined });
      return "changed";
    }
    let found: "changed" | "other" | "nothing" = "nothing";
    let news: BackendChange[] = [];
    for (const [id, channel, payload] of rows) {
      const change = readCount("id", id);
      if (change <= this.#last && (overlap === 0 || this.#told.has(change))) continue;
      this.#last = Math.max(this.#last, change);
      if (overlap > 0) this.#told.add(change);
      const notified = parseNotification(channel, payload);
      if (notified.kind === "changed") {
        found = "changed";
        news = withChange(news, { change, names: notified.names });
      } else if (found === "nothing") found = "other";
    }
    for (const id of this.#told) if (id <= this.#last - overlap) this.#told.delete(id);
    for (const change of news) this.#events?.changed(change);
    return found;
  }

  /** One is enough, the earliest. */
  #reloadIn(pause: number): void {
    const at = performance.now() + pause;
    if (this.#closed || (this.#reload !== undefined && this.#reload.at <= at)) return;
    clearTimeout(this.#reload?.timer);
    const timer = setTimeout(() => {
      this.#reload = undefined;
      this.#events?.changed({ change: 0, names: undefined });
    }, pause).unref();
    this.#reload = { at, timer };
  }
}

/**
 * Add a change to those that were read together with it. Rows are looked at as they are now: changes of one
 * name are one look, and what it ends belongs to the newest.
 */
function withChange(news: readonly BackendChange[], next: BackendChange): BackendChange[] {
  const apart = news.filter((one) => !overlap(one.names, next.names));
  if (apart.length === news.length) return [...news, next];
  const names = news
    .filter((one) => !apart.includes(one))
    .reduce((sum, one) => union(sum, one.names), next.names);
  return [...apart, { change: next.change, names }];
}

function overlap(a: ChangedNames | undefined, b: ChangedNames | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  return KINDS.some((kind) => (a[kind] ?? []).some((name) => b[kind]?.includes(name)));
}

function union(a: ChangedNames | undefined, b: ChangedNames | undefined): ChangedNames | undefined {
  if (a === undefined || b === undefined) return undefined;
  const both = KINDS.map((kind) => [kind, [...new Set([...(a[kind] ?? []), ...(b[kind] ?? [])])]]);
  return Object.fromEntries(both) as ChangedNames;
}

const KINDS = ["peers", "apiKeys", "credentials"] as const;
