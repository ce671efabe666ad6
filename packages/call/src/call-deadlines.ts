/**
 * Deadlines of any length in one heap: an entry is put in and taken out for each call, a timer is set for few.
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import { type HeapEntry, MinHeap } from "@alknet/core/min-heap";

/** Something with a deadline: `key` is when, by the clock's `now()`; `Infinity`: never. */
export type { HeapEntry as Deadline };

/**
 * Timers that are set at once, most. A timer cannot be called off, so each deadline that is earlier than all
 * others takes one more. Who makes up deadlines to have more gets its own a little later.
 */
const MAX_TIMERS = 32;

/** Longest time that a timer takes, in milliseconds. */
const MAX_WAIT = 2 ** 31 - 1;

export class CallDeadlines<T extends HeapEntry> {
  readonly #heap = new MinHeap<T>();
  readonly #clock: Clock;
  #expire: ((entry: T) => void) | undefined;
  /** When timers will go off; the earliest is last. */
  readonly #timers: number[] = [];

  /** @param expire is called with each entry whose time has come, after it was taken out. */
  constructor(clock: Clock, expire: (entry: T) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  get size(): number {
    return this.#heap.size;
  }

  add(entry: T): void {
    if (entry.key === Infinity) return;
    this.#heap.push(entry);
    if (entry.heapIndex === 0) this.#arm();
  }

  /** Does nothing if `entry` has no deadline set. */
  remove(entry: T): void {
    this.#heap.remove(entry);
  }

  /** Expire nothing any more: a timer would otherwise keep what `expire` knows for as long as it runs. */
  close(): void {
    this.#expire = undefined;
  }

  #arm(): void {
    const { first } = this.#heap;
    if (first === undefined || this.#timers.length === MAX_TIMERS) return;
    const earliest = this.#timers.at(-1);
    if (earliest !== undefined && earliest <= first.key) return;
    const now = this.#clock.now();
    const left = Math.min(Math.max(0, Math.ceil(first.key - now)), MAX_WAIT);
    this.#timers.push(now + left);
    this.#clock.timeout(left).addEventListener("abort", () => this.#sweep(), { once: true });
  }

  #sweep(): void {
    this.#timers.pop();
    const now = this.#clock.now();
    for (let due = this.#heap.first; due !== undefined && due.key <= now; due = this.#heap.first) {
      this.#heap.remove(due);
      this.#expire?.(due);
    }
    this.#arm();
  }
}
