/**
 * What look-ups of this process see of a store, as it follows the database.
 *
 * A change, here or in another process, first cuts what it names, and then everything is read again: a reload cannot
 * miss a row, and a slow one must not keep a right alive.
 *
 * What look-ups see never goes back to before a change that counts as seen: of two reads that overlap, which may
 * come in either order, the one that may be older is made again. Credentials are all as of one commit. So is each
 * peer, and a key that two of them seem to have, one before it moved and one after, is nobody's.
 *
 * @module
 */

import type { Cut } from "./access.ts";
import type { Clock } from "./clock.ts";
import type { IdentityIndex } from "./identity-index.ts";
import type { Rebuild } from "./identity-rebuild.ts";
import type { Logger } from "./log.ts";
import type { Roles } from "./scope-entry.ts";
import type {
  BackendChange,
  BackendState,
  ChangedNames,
  EncryptedData,
  Loaded,
  StoreBackend,
} from "./store-backend.ts";
import { StoreEffects, sum } from "./store-effects.ts";
import { StoreError } from "./store-error.ts";
import { noRows, putRows, rowsOf, type StoreRows } from "./store-rows.ts";
import { StoreState } from "./store-state.ts";

export interface StoreFollowerParts {
  readonly backend: StoreBackend;
  /** What look-ups see of peers and API keys; disposed of at the end. */
  readonly index: IdentityIndex;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** At most so long is the event loop held by a reload, in milliseconds. */
const SLICE = 2;

/** Between a change and the reload after it, in milliseconds: many changes are one reload. */
const RELOAD_PAUSE = 50;

/** And so many times as long as the last reload took: while many changes come, a fifth of the time is spent on them. */
const RELOAD_REST = 4;

/** After a reload that failed, in milliseconds. */
const RETRY_PAUSE = 1_000;

/** Most names that a change spells out; more are a reload for everybody. */
const MAX_NAMES = 64;

/** Nothing was ended. */
const NO_CUT: Cut = Object.freeze({ connections: 0, grants: 0 });

export class StoreFollower {
  readonly #backend: StoreBackend;
  readonly #index: IdentityIndex;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #state: StoreState;
  readonly #effects: StoreEffects;
  #secrets: ReadonlyMap<string, EncryptedData> = new Map();
  /** Changes are looked at one after another. */
  #queue: Promise<unknown> = Promise.resolve();
  #reloading: Promise<void> | undefined;
  #again: Promise<void> | undefined;
  /** What was looked at while a reload is under way, after the moment that it reads: newer than that. */
  #newer: StoreRows | undefined;
  /** What was looked at while a reload begins: which of the two is newer is not known. */
  #unsure: ChangedNames[] | undefined;
  #lastCut: Cut = NO_CUT;
  #reloadDue: AbortSignal | undefined;
  /** Of the last reload, in milliseconds. */
  #reloadTime = 0;
  /** So many reloads have begun, and read what is as of a moment that is over. */
  #moments = 0;
  #closing: Promise<void> | undefined;

  constructor({ backend, index, clock, logger }: StoreFollowerParts) {
    this.#backend = backend;
    this.#index = index;
    this.#clock = clock;
    this.#logger = logger;
    this.#state = new StoreState({ label: backend.label, clock, logger });
    this.#effects = new StoreEffects(() => this.check());
  }

  /** Load everything, and follow what changes. */
  async open(): Promise<void> {
    // First listen, then look: nothing can happen in between.
    await this.#backend.watch({
      changed: (change) => void this.#onchanged(change),
      state: (state) => this.#onstate(state),
    });
    await this.reload();
  }

  /** Credentials by provider: replaced, never changed. */
  get secrets(): ReadonlyMap<string, EncryptedData> {
    return this.#secrets;
  }

  get state(): BackendState {
    return this.#state.state;
  }

  onstate(listener: () => void): () => void {
    return this.#state.onstate(listener);
  }

  effectOf(change: number, signal: AbortSignal | undefined): Promise<Cut> {
    return this.#effects.of(change, signal);
  }

  setRoles(roles: Roles): Cut {
    return this.#telling(() => this.#index.setRoles(roles));
  }

  /** @throws {StoreError} `STORE_CLOSED` */
  check(): void {
    if (this.#closing === undefined) return;
    throw new StoreError("STORE_CLOSED", `the store ${this.#backend.label} was closed`);
  }

  /** A change was committed here: resolves when look-ups see it. */
  async committed(change: BackendChange): Promise<Cut> {
    try {
      return await this.#apply(change);
    } catch (error) {
      // It is committed: what it takes away must fall, also if nobody tells of it again.
      if (this.#closing === undefined) this.#failed(error);
      throw error;
    }
  }

  async #onchanged(change: BackendChange): Promise<void> {
    try {
      await this.#apply(change);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Cut what a change names, at once; then have everything read again. */
  async #apply({ change, names }: BackendChange): Promise<Cut> {
    const spelt = names !== undefined && countOf(names) <= MAX_NAMES ? names : undefined;
    if (spelt === undefined) {
      await this.#queue;
      if (this.#closing !== undefined) return NO_CUT;
      // Not in the queue: what is named meanwhile is cut at once, and does not wait for all the rest.
      await this.reload();
      this.#effects.saw(change, this.#lastCut);
      return this.#lastCut;
    }
    const cut = await this.#look(spelt);
    this.#reloadSoon();
    this.#effects.saw(change, cut);
    return cut;
  }

  /** Look at what a change names, after the changes of before. */
  async #look(names: ChangedNames): Promise<Cut> {
    const turn = this.#queue.then(async () => {
      if (this.#closing !== undefined) return NO_CUT;
      let moments: number;
      let rows: readonly Loaded[];
      do {
        moments = this.#moments;
        rows = await this.#backend.rows(names);
        // What a reload reads meanwhile may be newer, and must not be undone for a moment.
      } while (moments !== this.#moments && this.#closing === undefined);
      this.#unsure?.push(names);
      return this.#patch(names, rows);
    });
    this.#queue = turn.catch(() => {});
    return await turn;
  }

  #patch(names: ChangedNames, rows: readonly Loaded[]): Cut {
    const changed = rowsOf(names, rows);
    if (this.#newer !== undefined) putRows(this.#newer, changed);
    this.#secrets = changed.secrets ?? this.#secrets;
    return changed.peers.size + changed.apiKeys.size === 0
      ? NO_CUT
      : this.#telling(() => this.#index.patch(changed));
  }

  /** Who is told and fails is at fault alone: what it was told of stands, and is committed. */
  #telling(change: () => Cut): Cut {
    try {
      return change();
    } catch (error) {
      this.#logger.error({ err: error }, "cannot tell all who follow the identities");
      return NO_CUT;
    }
  }

  /** Read everything again; one at a time, and one more if asked while one is under way. */
  reload(): Promise<void> {
    this.check();
    if (this.#again !== undefined) return this.#again;
    if (this.#reloading === undefined) return this.#begin();
    this.#again = this.#reloading
      .catch(() => {})
      .then(() => {
        this.#again = undefined;
        return this.#begin();
      });
    return this.#again;
  }

  #begin(): Promise<void> {
    this.#reloading = this.#load().finally(() => (this.#reloading = undefined));
    return this.#reloading;
  }

  async #load(): Promise<void> {
    const begin = performance.now();
    const { resumed } = this.#state;
    const newer = noRows();
    let lookedAgain: Promise<readonly Cut[]> | undefined;
    this.#unsure = [];
    try {
      const rebuild = this.#index.rebuild();
      const secrets = new Map<string, EncryptedData>();
      let change = 0;
      let sliceEnd = performance.now() + SLICE;
      for await (const batch of this.#backend.load(this.#index)) {
        lookedAgain ??= this.#momentIsOver(newer);
        change = batch.change;
        for (const row of batch.rows) add(rebuild, secrets, row);
        if (performance.now() < sliceEnd) continue;
        await new Promise((resolve) => setImmediate(resolve));
        if (this.#closing !== undefined) return;
        sliceEnd = performance.now() + SLICE;
      }
      const cuts = (await lookedAgain) ?? [];
      this.#secrets = newer.secrets ?? secrets;
      this.#lastCut = sum([...cuts, this.#telling(() => rebuild.swap(newer))]);
      this.#effects.saw(change, this.#lastCut);
      this.#reloadTime = Math.ceil(performance.now() - begin);
      this.#state.recovered(resumed);
    } catch (error) {
      if (this.#closing === undefined) this.#failed(error);
      throw error;
    } finally {
      this.#newer = undefined;
      this.#unsure = undefined;
    }
  }

  /** A reload has begun to read: what is looked at from now on is newer, and goes into `newer`. */
  #momentIsOver(newer: StoreRows): Promise<readonly Cut[]> {
    const unsure = this.#unsure ?? [];
    this.#unsure = undefined;
    this.#newer = newer;
    this.#moments++;
    const looks = Promise.all(unsure.map((names) => this.#look(names)));
    // Who waits for it hears of it; if the reload fails itself, nobody does.
    looks.catch(() => {});
    return looks;
  }

  #reloadSoon(pause = Math.max(RELOAD_PAUSE, RELOAD_REST * this.#reloadTime)): void {
    if (this.#reloadDue !== undefined || this.#closing !== undefined) return;
    const due = (this.#reloadDue = this.#clock.timeout(pause));
    const ondue = (): void => {
      this.#reloadDue = undefined;
      // Its failure is told by `state`, and tried again.
      if (this.#closing === undefined) this.reload().catch(() => {});
    };
    if (due.aborted) queueMicrotask(ondue);
    else due.addEventListener("abort", ondue, { once: true });
  }

  #onstate(state: BackendState): void {
    if (this.#closing !== undefined) return;
    if (this.#state.backendIs(state)) this.reload().catch(() => {});
  }

  #failed(error: unknown): void {
    this.#state.failed(error);
    this.#reloadSoon(RETRY_PAUSE);
  }

  /** Let go, once what was begun is finished. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#index[Symbol.dispose]();
    this.#effects.wake();
    // A write in progress is acknowledged or was never made.
    await Promise.allSettled([this.#queue, this.#reloading]);
    await this.#backend.close();
  }
}

function add(rebuild: Rebuild, secrets: Map<string, EncryptedData>, row: Loaded): void {
  switch (row.kind) {
    case "peer":
      return rebuild.peer(row.entry);
    case "apiKey":
      return rebuild.apiKey(row.entry);
    case "credential":
      secrets.set(row.provider, row.value);
      return;
    case "broken":
      return rebuild.problem({ subject: row.subject, message: row.message });
  }
}

function countOf({ peers = [], apiKeys = [], credentials = [] }: ChangedNames): number {
  return peers.length + apiKeys.length + credentials.length;
}
