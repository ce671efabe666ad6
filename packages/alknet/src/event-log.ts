/**
 * The last things that the owner of a node may want to know of, and those to come, for whoever follows.
 *
 * @module
 */

/** Most entries that are kept, and most that one who follows may be behind. */
const MAX_KEPT = 1_024;

/** A bounded list that can be followed. */
export class EventLog<T extends object> {
  readonly #entries: T[] = [];
  readonly #followers = new Set<(entry: T) => void>();

  /** The newest ones, oldest first. */
  get entries(): readonly T[] {
    return this.#entries;
  }

  add(entry: T): void {
    this.#entries.push(entry);
    if (this.#entries.length > MAX_KEPT) this.#entries.shift();
    for (const follower of this.#followers) follower(entry);
  }

  /** Those that are added from now on, until `signal` aborts. Who is too slow misses the oldest. */
  async *follow(signal: AbortSignal): AsyncGenerator<T> {
    let waiting: T[] = [];
    let wake = (): void => {};
    const follower = (entry: T): void => {
      waiting.push(entry);
      if (waiting.length > MAX_KEPT) waiting.shift();
      wake();
    };
    const onabort = (): void => wake();
    this.#followers.add(follower);
    signal.addEventListener("abort", onabort, { once: true });
    try {
      while (!signal.aborted) {
        if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        const batch = waiting;
        waiting = [];
        yield* batch;
      }
    } finally {
      this.#followers.delete(follower);
      signal.removeEventListener("abort", onabort);
    }
  }
}
