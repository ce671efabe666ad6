/**
 * Numbers that people hand in, checked before the engine sees them: it would cut them to size in silence.
 *
 * @module
 */

/** Largest code of a reset, stop or close (RFC 9000 §16 has 2^62; numbers here are exact to 2^53). */
export const MAX_CODE: number = Number.MAX_SAFE_INTEGER;

/**
 * @param doing what fails, e.g. "bind"
 * @throws {RangeError} unless `value` is an integer from `low` to `high`
 */
export function checkInteger(
  doing: string,
  name: string,
  value: number,
  low: number,
  high: number,
): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new RangeError(
    `cannot ${doing}: ${name} must be an integer from ${low} to ${high}, got ${String(value)}`,
  );
}
