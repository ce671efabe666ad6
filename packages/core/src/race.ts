/**
 * Start attempts one after another, a little apart, and take the first that succeeds: RFC 8305 §5.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { deadlines } from "./deadlines.ts";

export interface RaceOptions<T> {
  /** In order of preference, at least one. Each must end when its signal aborts. */
  readonly attempts: readonly ((signal: AbortSignal) => Promise<T>)[];
  /** How long the next one waits, in milliseconds; not at all once those before it have failed. */
  readonly stagger: number;
  /** Whether an error ends the race, whatever else is under way. */
  readonly isFinal: (error: unknown) => boolean;
  /** Gets what succeeds after somebody else has. */
  readonly discard: (late: T) => void;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/**
 * Race.
 *
 * @throws the first final error; the reason of `signal`; or an `AggregateError` of all, in their order.
 */
export async function race<T>(options: RaceOptions<T>): Promise<T> {
  const { attempts, stagger, isFinal, discard, signal, clock } = options;
  signal.throwIfAborted();
  if (attempts.length === 1) return await alone(attempts[0]!, options);
  const losers = new AbortController();
  const turns = deadlines(stagger, clock);
  const errors: unknown[] = [];
  let started = 0;
  let failed = 0;
  return await new Promise<T>((resolve, reject) => {
    const over = (): boolean => losers.signal.aborted;
    const settle = (reason: unknown): void => {
      signal.removeEventListener("abort", onabort);
      losers.abort(reason);
    };
    const onabort = (): void => {
      settle(signal.reason);
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", onabort, { once: true });

    const start = (): void => {
      if (over() || started === attempts.length) return;
      const index = started++;
      // A function that throws at once is an attempt that failed.
      const attempt = Promise.resolve().then(() => attempts[index]!(losers.signal));
      attempt.then(won, (error: unknown) => lost(index, error));
      if (started === attempts.length) return;
      const turn = started;
      const next = (): void => {
        // Unless a failure has started it already.
        if (started === turn) start();
      };
      turns.add(next);
    };
    const won = (value: T): void => {
      if (over()) return discard(value);
      settle(ANOTHER_WON);
      resolve(value);
    };
    const lost = (index: number, error: unknown): void => {
      if (over()) return;
      errors[index] = error;
      failed++;
      if (isFinal(error)) {
        settle(error);
        reject(error as Error);
      } else if (failed === attempts.length) {
        settle(error);
        reject(new AggregateError(errors, "every attempt failed"));
      } else if (failed === started) {
        start();
      }
    };
    start();
  });
}

/** One for all: an error takes its time to make, and nobody looks at this one. */
const ANOTHER_WON = new DOMException("another attempt was first", "AbortError");

/** A race of one. */
async function alone<T>(
  attempt: (signal: AbortSignal) => Promise<T>,
  { signal, isFinal }: RaceOptions<T>,
): Promise<T> {
  try {
    return await attempt(signal);
  } catch (error) {
    signal.throwIfAborted();
    if (isFinal(error)) throw error;
    throw new AggregateError([error], "every attempt failed");
  }
}
