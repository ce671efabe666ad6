/**
 * How long a vault may be unused before it locks itself: `8h`, `30m`, or `never`.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { DURATION_PATTERN, formatDuration, parseDuration } from "./duration.ts";

/** In milliseconds. */
const LEAST = 1_000;
const MOST: number = 30 * 86_400_000;

/** What may be written, in words. */
export const LOCK_AFTER_RANGE: string = `${formatDuration(LEAST)} to ${formatDuration(MOST)}, or never`;

/** What {@linkcode parseLockAfter} accepts, for schemas. */
export const LOCK_AFTER_PATTERN: string = `^never$|${DURATION_PATTERN}`;

/**
 * @returns milliseconds; `undefined`: never.
 * @throws {InvalidText} `DURATION_INVALID`
 * @throws {RangeError} outside of {@linkcode LOCK_AFTER_RANGE}.
 */
export function parseLockAfter(text: string): number | undefined {
  if (text === "never") return undefined;
  const milliseconds = parseDuration(text);
  if (milliseconds >= LEAST && milliseconds <= MOST) return milliseconds;
  throw new RangeError(`cannot use ${JSON.stringify(text)}: expected ${LOCK_AFTER_RANGE}`);
}
