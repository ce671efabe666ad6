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

/** `3 d 4 h`, `5 min 6 s`: the two largest units. */
export function formatSeconds(seconds: number): string {
  const parts: string[] = [];
  let rest = Math.floor(seconds);
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ] as const) {
    if (rest >= size || (unit === "s" && parts.length === 0)) {
      parts.push(`${Math.floor(rest / size)} ${unit}`);
    }
    rest %= size;
  }
  return parts.slice(0, 2).join(" ");
}
