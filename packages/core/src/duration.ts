/**
 * Durations as people write them: `500ms`, `10s`, `1h30m`.
 *
 * ```text
 * duration = 1*( number unit )      units from large to small, each once
 * unit     = "d" / "h" / "m" / "s" / "ms"
 * ```
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { invalidText } from "./invalid-text.ts";

/** Milliseconds of each unit, the largest first. */
const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

const DURATION: RegExp =
  /^(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m(?!s))?(?:([0-9]{1,9})s)?(?:([0-9]{1,9})ms)?$/;

/** What {@linkcode parseDuration} accepts, for schemas. */
export const DURATION_PATTERN: string = "^([0-9]+(d|h|m|s|ms))+$";

/**
 * Read a duration.
 *
 * @returns milliseconds.
 * @throws {InvalidText} `DURATION_INVALID`
 */
export function parseDuration(text: string): number {
  const found = DURATION.exec(text);
  if (found === null || text === "") {
    const expected = 'expected a number and a unit (d, h, m, s, ms), such as "10s" or "1h30m"';
    throw invalidText("DURATION_INVALID", "duration", text, expected);
  }
  return UNITS.reduce((sum, [, size], index) => sum + Number(found[index + 1] ?? 0) * size, 0);
}

/** Write a duration in whole milliseconds; `parseDuration` reads it back. */
export function formatDuration(milliseconds: number): string {
  let rest = milliseconds;
  let text = "";
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest %= size;
  }
  return text === "" ? "0s" : text;
}
