/**
 * Spans of time as people write them: `90s`, `10m`, `2h`, `3d`, `1w`; and moments: such a span from now, or
 * an RFC 3339 time in UTC.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { invalidText } from "./invalid-text.ts";

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** @returns milliseconds, above 0. @throws {InvalidText} `TIME_INVALID` */
export function parseSpan(text: string): number {
  const match = /^([1-9][0-9]{0,5})([smhdw])$/.exec(text);
  if (match !== null) return Number(match[1]) * UNITS[match[2]!]!;
  throw invalidText(
    "TIME_INVALID",
    "time",
    text,
    'expected for example "90s", "10m", "2h", "3d", "1w"',
  );
}

/**
 * @param now milliseconds since 1970 UTC.
 * @returns milliseconds since 1970 UTC, after `now`.
 * @throws {InvalidText} `TIME_INVALID`
 */
export function parseMoment(text: string, now: number): number {
  if (/^[0-9]+[a-z]$/.test(text)) return now + parseSpan(text);
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) {
    const expected =
      'expected a span from now ("2h", "3d") or a time in UTC ("2026-12-31T18:00:00Z")';
    throw invalidText("TIME_INVALID", "time", text, expected);
  }
  if (time <= now) throw invalidText("TIME_INVALID", "time", text, "it is over already");
  return time;
}
