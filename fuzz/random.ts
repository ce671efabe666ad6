/**
 * Pseudo-random choices from a seed, so that a run can be had again.
 *
 * @module
 */

export interface Random {
  /** An integer from 0 up to `below`. */
  below(below: number): number;
  /** True once in `times`. */
  oneIn(times: number): boolean;
  pick<T>(items: readonly T[]): T | undefined;
  bytes(length: number): Buffer;
}

/** Marsaglia's xorshift32 (https://doi.org/10.18637/jss.v008.i14); good enough to choose calls by. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  const random: Random = {
    below: (below) => next() % below,
    oneIn: (times) => next() % times === 0,
    pick: (items) => items[next() % Math.max(1, items.length)],
    bytes(length) {
      const bytes = Buffer.allocUnsafe(length);
      const first = next();
      for (let at = 0; at < length; at++) bytes[at] = (first + at) & 0xff;
      return bytes;
    },
  };
  return random;
}
