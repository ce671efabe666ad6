/**
 * The last things that the owner of a node may want to know of: numbered, so that whoever follows can go on.
 *
 * @module
 */

/** Most entries that are kept. Who is further behind misses the oldest. */
export const MAX_KEPT: number = 1_024;

/** An entry, and which of all that were ever added it is: the first is 1. */
export type Numbered<T> = readonly [number: number, entry: T];

/** A bounded list that can be followed. */
export class EventLog<T extends object> {
  readonly #entries: T[] = [];
  readonly #listeners = new Set<() => void>();
  #count = 0;

  /** The newest ones, oldest first. */
  get entries(): readonly T[] {
    return this.#entries;
  }

  /** How many there ever were: the number of the newest. */
  get count(): number {
    return this.#count;
  }

  add(entry: T): void {
    this.#count++;
    this.#entries.push(entry);
    if (this.#entries.length > MAX_KEPT) this.#entries.shift();
    for (const listener of this.#listeners) listener();
  }

  /** Those above a number that are still kept, oldest first. */
  after(number: number): Numbered<T>[] {
    const dropped = this.#count - this.#entries.length;
    const first = Math.max(0, number - dropped);
    return this.#entries.slice(first).map((entry, at) => [dropped + first + at + 1, entry]);
  }

  /** Have `listener` called after each that is added. @returns how to stop it. */
  onadd(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }
}
