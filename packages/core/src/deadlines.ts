/**
 * Many deadlines of the same length: one timer for all of them.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

export interface Deadlines {
  /** Have `expire` called after the time. @returns how to stop that. */
  readonly add: (expire: () => void) => () => void;
}

interface Deadline {
  readonly due: number;
  readonly expire: () => void;
}

/** Deadlines `milliseconds` after they were added. */
export function deadlines(milliseconds: number, clock: Clock): Deadlines {
  // All of the same length, so the first that was added is the first that is due.
  const waiting = new Set<Deadline>();
  let armed = false;

  function arm(): void {
    const [first] = waiting;
    armed = first !== undefined;
    if (first === undefined) return;
    const left = Math.max(0, Math.ceil(first.due - clock.now()));
    clock.timeout(left).addEventListener("abort", sweep, { once: true });
  }

  function sweep(): void {
    const now = clock.now();
    for (const deadline of waiting) {
      if (deadline.due > now) break;
      waiting.delete(deadline);
      deadline.expire();
    }
    arm();
  }

  return {
    add(expire) {
      const deadline = { due: clock.now() + milliseconds, expire };
      waiting.add(deadline);
      if (!armed) arm();
      return () => waiting.delete(deadline);
    },
  };
}
