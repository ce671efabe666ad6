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
  /** A signal that aborts with a `TimeoutError` after `milliseconds`. Keeps no process alive. */
  timeout(milliseconds: number): AbortSignal;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  timeout: (milliseconds) => AbortSignal.timeout(milliseconds),
};
