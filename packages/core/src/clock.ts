/**
 * Time, handed in: code that waits takes a {@linkcode Clock}, and its test advances one by hand.
 *
 * @module
 */

export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. For durations. */
  now(): number;
  /** Milliseconds since 1970 UTC; may jump. For dates in configuration and certificates. */
  wallTime(): number;
  /**
   * A signal that aborts with a `TimeoutError` after `milliseconds`, of any length from 0 and fractions too: not
   * before, but after 24.8 days at the latest. Keeps no process alive.
   */
  timeout(milliseconds: number): AbortSignal;
}

/** Longest time of a timer, in milliseconds: what is above, Node takes for 1. */
const LONGEST = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  timeout: (milliseconds) => AbortSignal.timeout(Math.min(Math.ceil(milliseconds), LONGEST)),
};
