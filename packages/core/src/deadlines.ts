/**
 * Many deadlines of the same length: one timer for all of them.
 *
 * A signal of `Clock.timeout` cannot be called off, and costs tens of microseconds when it aborts and
 * nobody listens any more. What is set and called off for each connection is set here.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

export interface Deadlines {
  /** Have `expire` called after the time. @returns how to call that off. */
  readonly add: (expire: () => void) => () => void;
}

interface Deadline {
  readonly due: number;
  readonly expire: () => void;
}

const shared = new WeakMap<Clock, Map<number, Deadlines>>();

/** Deadlines `milliseconds` after they were added. The same for all who ask for the same. */
export function deadlines(milliseconds: number, clock: Clock): Deadlines {
  let byLength = shared.get(clock);
  if (byLength === undefined) shared.set(clock, (byLength = new Map()));
  let known = byLength.get(milliseconds);
  if (known === undefined) byLength.set(milliseconds, (known = makeDeadlines(milliseconds, clock)));
  return known;
}

function makeDeadlines(milliseconds: number, clock: Clock): Deadlines {
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
