/**
 * What changes of a store have ended in this process, for whoever made them, here or in another.
 *
 * @module
 */

import type { Cut } from "./access.ts";

/** Effects of so many changes are remembered. */
const MAX_EFFECTS = 1_024;

export class StoreEffects {
  readonly #check: () => void;
  #seen = 0;
  readonly #effects: { readonly change: number; readonly cut: Cut }[] = [];
  readonly #waiting = new Set<() => void>();

  /** @param check throws once the store is closed. */
  constructor(check: () => void) {
    this.#check = check;
  }

  /** This process sees a change, which has ended `cut`. */
  saw(change: number, cut: Cut): void {
    if (change === 0) return;
    this.#seen = Math.max(this.#seen, change);
    if (cut.connections + cut.grants > 0 || !this.#effects.some((it) => it.change === change)) {
      this.#effects.push({ change, cut });
      if (this.#effects.length > MAX_EFFECTS) this.#effects.shift();
    }
    this.wake();
  }

  /** Have all who wait look again. */
  wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** What a change has ended, once it is seen. */
  async of(change: number, signal: AbortSignal | undefined): Promise<Cut> {
    if (change === 0) return { connections: 0, grants: 0 };
    while (this.#seen < change) {
      this.#check();
      signal?.throwIfAborted();
      await this.#next(signal);
    }
    // What came together was looked at as one, under the newest number.
    const known = this.#effects.map((it) => it.change).filter((number) => number >= change);
    const under = Math.min(...known);
    return sum(this.#effects.filter((it) => it.change === under).map(({ cut }) => cut));
  }

  #next(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      // What a store listens with keeps no process alive; somebody who waits for it does.
      const alive = setInterval(() => {}, 60_000);
      const done = (): void => {
        clearInterval(alive);
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }
}

export function sum(cuts: readonly Cut[]): Cut {
  const all = { connections: 0, grants: 0 };
  for (const { connections, grants } of cuts) {
    all.connections += connections;
    all.grants += grants;
  }
  return all;
}
