/**
 * A clock for tests: time stands still until the test moves it.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

interface Timer {
  readonly due: number;
  readonly controller: AbortController;
}

/**
 * A {@linkcode Clock} that {@linkcode FakeClock.advance} moves.
 *
 * ```ts
 * const clock = new FakeClock();
 * const signal = clock.timeout(5_000);
 * clock.advance(5_000);
 * signal.aborted; // true
 * ```
 */
export class FakeClock implements Clock {
  #now = 0;
  #wallOffset: number;
  #timers: Timer[] = [];

  /** @param wallTime milliseconds since 1970 UTC at the start. @default 2026-01-01 */
  constructor(wallTime: number = Date.UTC(2026, 0, 1)) {
    this.#wallOffset = wallTime;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return this.#wallOffset + this.#now;
  }

  timeout(milliseconds: number): AbortSignal {
    const controller = new AbortController();
    this.#timers.push({ due: this.#now + milliseconds, controller });
    return controller.signal;
  }

  /** How many time-outs have not been reached. */
  get pending(): number {
    return this.#timers.length;
  }

  /**
   * Let time pass. Signals abort one after another, in the order in which they are due, each at its own
   * time; also those that are made on the way.
   */
  advance(milliseconds: number): void {
    if (!(milliseconds >= 0))
      throw new RangeError(`cannot advance by ${milliseconds}: expected 0 or more`);
    const end = this.#now + milliseconds;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        if (timer.due <= end && (next === undefined || timer.due < next.due)) next = timer;
      }
      if (next === undefined) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#now = Math.max(this.#now, next.due);
      next.controller.abort(new DOMException("the operation timed out", "TimeoutError"));
    }
    this.#now = end;
  }

  /** Set the wall clock, as its owner or NTP may at any time; durations do not notice. */
  setWallTime(wallTime: number): void {
    this.#wallOffset = wallTime - this.#now;
  }
}
