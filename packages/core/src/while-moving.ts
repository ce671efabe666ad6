/**
 * Wait for an end that somebody else has to bring about, as long as it comes nearer.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { deadlines } from "./deadlines.ts";

/** Most periods that are waited: who moves a byte a period does not hold a connection for ever. */
const MAX_PERIODS = 64;

/**
 * Wait for `done`, which must not reject, while `moved` changes within each `period` (milliseconds).
 *
 * A deadline on progress and not on the whole: the end of a long transfer that keeps moving is not cut.
 *
 * @returns whether it was done.
 */
export async function whileMoving(
  done: Promise<unknown>,
  moved: () => number,
  period: number,
  clock: Clock,
): Promise<boolean> {
  const isDone = done.then(() => true);
  const periods = deadlines(period, clock);
  let before = moved();
  for (let i = 0; i < MAX_PERIODS; i++) {
    let callOff = (): void => {};
    const over = new Promise<false>((resolve) => (callOff = periods.add(() => resolve(false))));
    const first = await Promise.race([isDone, over]);
    callOff();
    if (first) return true;
    const now = moved();
    if (now === before) return false;
    before = now;
  }
  return false;
}

/** Resolves to false when `signal` aborts. */
export async function expired(signal: AbortSignal): Promise<false> {
  if (signal.aborted) return false;
  return await new Promise<false>((resolve) => {
    signal.addEventListener("abort", () => resolve(false), { once: true });
  });
}
