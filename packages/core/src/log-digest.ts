/**
 * Like things that happen again and again, in few log lines: the first ones each by itself, and once in a
 * while how many more there were. For what strangers can bring about as often as they like.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { deadlines } from "./deadlines.ts";

/** How long things are put together, in milliseconds. */
const INTERVAL = 60_000;

/** Most kinds that are told apart at once; further ones count as one. */
const MAX_KINDS = 64;

/** Stands for all kinds beyond {@linkcode MAX_KINDS}. */
const FURTHER = Symbol("further kinds");

export interface LogDigestOptions<T> {
  /** How many of a kind have a line of their own in each minute. */
  readonly each: number;
  /** A line for one. */
  readonly one: (event: T) => void;
  /** A line for `count` more of the same kind as `last`; of any, if `mixed`. */
  readonly more: (count: number, last: T, mixed: boolean) => void;
  /** What has no line of its own. */
  readonly quiet: (event: T) => void;
  readonly clock: Clock;
}

export interface LogDigest<T> {
  /** It happened. What has the same `kind` is put together. */
  add(kind: string, event: T): void;
  /** Say now what was kept back: nobody will later. */
  flush(): void;
}

interface Kind<T> {
  count: number;
  /** Without a line of their own. */
  quiet: number;
  last: T;
}

export function logDigest<T>(options: LogDigestOptions<T>): LogDigest<T> {
  const { each, one, more, quiet, clock } = options;
  const kinds = new Map<string | typeof FURTHER, Kind<T>>();
  const minutes = deadlines(INTERVAL, clock);

  function tell(name: string | typeof FURTHER, kind: Kind<T>): void {
    if (kind.quiet > 0) more(kind.quiet, kind.last, name === FURTHER);
  }

  function begin(name: string | typeof FURTHER, kind: Kind<T>): void {
    kinds.set(name, kind);
    minutes.add(() => {
      if (kinds.get(name) !== kind) return;
      kinds.delete(name);
      tell(name, kind);
      // It goes on: that line was the one of the minute that begins.
      if (kind.quiet > 0) begin(name, { count: each, quiet: 0, last: kind.last });
    });
  }

  return {
    add(kind, event) {
      const name = kinds.has(kind) || kinds.size < MAX_KINDS ? kind : FURTHER;
      let known = kinds.get(name);
      if (known === undefined) {
        known = { count: name === FURTHER ? each : 0, quiet: 0, last: event };
        begin(name, known);
      }
      known.last = event;
      if (known.count < each) {
        known.count++;
        one(event);
      } else {
        known.quiet++;
        quiet(event);
      }
    },
    flush() {
      for (const [name, kind] of kinds) tell(name, kind);
      kinds.clear();
    },
  };
}
