/**
 * Whether look-ups see the database as it is: what its backend says, and how the last reload went.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";
import type { BackendState } from "./store-backend.ts";

export interface StoreStateOptions {
  /** Of the store, for the log. */
  readonly label: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The backend is said to be ready again, which counts when everything has been read since. */
export interface Resumed {
  readonly state: BackendState;
}

export class StoreState {
  readonly #options: StoreStateOptions;
  #backend: BackendState = { kind: "ready" };
  #resumed: Resumed | undefined;
  /** Of the last reload. */
  #failure: (BackendState & { kind: "stale" }) | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(options: StoreStateOptions) {
    this.#options = options;
  }

  get state(): BackendState {
    return this.#backend.kind === "stale" ? this.#backend : (this.#failure ?? this.#backend);
  }

  /** What a reload that begins now makes good, once it is done. */
  get resumed(): Resumed | undefined {
    return this.#resumed;
  }

  /** The backend says how it is. @returns whether everything has to be read again before that counts. */
  backendIs(state: BackendState): boolean {
    if (state.kind === "ready" && this.#backend.kind === "stale") {
      // Whatever was said in the meantime was not heard.
      this.#resumed = { state };
      return true;
    }
    const wasReady = this.state.kind === "ready";
    this.#resumed = undefined;
    this.#backend = state;
    if (state.kind === "stale" && wasReady) {
      const { logger, label } = this.#options;
      logger.error({ store: label }, staleText(state.reason));
    }
    this.#tell();
    return false;
  }

  /** The database could not be read. */
  failed(error: unknown): void {
    const { logger, label, clock } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    // That the database is out of reach was said before.
    if (this.#failure?.reason !== reason && this.#backend.kind === "ready") {
      logger.error({ store: label, err: error }, staleText(reason));
    }
    const since = this.#failure?.since ?? clock.wallTime();
    this.#failure = { kind: "stale", reason, since };
    this.#tell();
  }

  /** Everything was read, by a reload that had `resumed` when it began. */
  recovered(resumed: Resumed | undefined): void {
    const before: BackendState["kind"] = this.state.kind;
    this.#failure = undefined;
    if (resumed !== undefined && resumed === this.#resumed) {
      this.#backend = resumed.state;
      this.#resumed = undefined;
    }
    if (before === "stale" && this.state.kind === "ready") {
      const { logger, label } = this.#options;
      logger.info({ store: label }, "the store can be read again");
    }
    this.#tell();
  }

  /** Have `listener` called when `state` may be another. @returns how to stop it. */
  onstate(listener: () => void): () => void {
    // One entry per subscription, also when a function subscribes twice.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function staleText(reason: string): string {
  return `the store cannot be read, its last contents stay in force: ${reason}`;
}
