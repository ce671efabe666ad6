/**
 * Waiting for a lock without holding the event loop: try, let others run, try again.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";

/** How long a locked database is waited for, in milliseconds. */
export const PATIENCE = 10_000;

/** Longest pause between two tries, in milliseconds. */
const LONGEST_PAUSE = 20;

/** Run `run` until it succeeds, or fails with something that waiting does not mend, or `patience` is over. */
export async function patiently<T>(
  run: () => T | Promise<T>,
  isWorthWaiting: (error: unknown) => boolean,
  patience: number = PATIENCE,
): Promise<T> {
  const deadline = performance.now() + patience;
  for (let tries = 0; ; tries++) {
    try {
      return await run();
    } catch (error) {
      if (!isWorthWaiting(error) || performance.now() >= deadline) throw error;
      // A spread, so that two who wait do not always meet.
      const pause = Math.min(LONGEST_PAUSE, 2 ** Math.min(tries, 10) / 4);
      await sleep(Math.random() * pause + pause / 2);
    }
  }
}
