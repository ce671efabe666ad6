/**
 * Times as commands tell them.
 *
 * @module
 */

/** Milliseconds to the microsecond, for documents: more digits are noise. */
export function roundToMicroseconds(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

/** `3.21 ms`, `32.1 ms` */
export function formatMilliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}
