/**
 * Globs of the scope grammar: `*` is any run of characters but `/`, `**` any run; all else is itself.
 *
 * Matched as a set of positions, in time pattern × text at worst: a regular expression made from
 * `*a*a*a*` would take far longer on text that a peer may choose.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { invalidText } from "./invalid-text.ts";

const STAR = -1;
const GLOBSTAR = -2;

export interface Glob {
  readonly text: string;
  /** UTF-16 code units, and the two wildcards; `undefined` where there is no wildcard. */
  readonly parts: readonly number[] | undefined;
  /** What comes before the first wildcard. */
  readonly prefix: string;
}

/** @throws {InvalidText} `SCOPE_INVALID`, if three asterisks meet. */
export function parseGlob(text: string): Glob {
  if (!text.includes("*")) return { text, parts: undefined, prefix: text };
  if (text.includes("***")) {
    throw invalidText("SCOPE_INVALID", "pattern", text, `expected "*" or "**", not three of them`);
  }
  const parts: number[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text.startsWith("**", at)) {
      parts.push(GLOBSTAR);
      at++;
    } else {
      parts.push(text[at] === "*" ? STAR : text.charCodeAt(at));
    }
  }
  return { text, parts, prefix: text.slice(0, text.indexOf("*")) };
}

/** Whether `glob` matches all of `text`. */
export function matchGlob(glob: Glob, text: string): boolean {
  const { parts, prefix } = glob;
  if (parts === undefined) return glob.text === text;
  if (!text.startsWith(prefix)) return false;
  // `fs/*`, as most are: a right is looked at on every call. 50 ns, where positions take 500.
  if (parts.length === prefix.length + 1) {
    return parts.at(-1) === GLOBSTAR || !text.includes("/", prefix.length);
  }
  const end = parts.length;
  // live[j]: the first j parts match what has been read so far.
  let live = new Uint8Array(end + 1);
  let next = new Uint8Array(end + 1);
  live[0] = 1;
  passWildcards(parts, live);
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    let any = false;
    next.fill(0);
    for (let j = 0; j < end; j++) {
      if (live[j] === 0) continue;
      const part = parts[j];
      if (part === unit) next[j + 1] = 1;
      else if (part === GLOBSTAR || (part === STAR && unit !== 0x2f)) next[j] = 1;
      else continue;
      any = true;
    }
    if (!any) return false;
    passWildcards(parts, next);
    [live, next] = [next, live];
  }
  return live[end] === 1;
}

/** A wildcard may also match nothing. */
function passWildcards(parts: readonly number[], live: Uint8Array): void {
  for (let j = 0; j < parts.length; j++) if (live[j] === 1 && parts[j]! < 0) live[j + 1] = 1;
}
