/**
 * Where in a TOML document each key and value stands, for errors about what it says.
 *
 * The document has been parsed already (by a parser that tells no positions), so this scanner trusts its
 * grammar and only keeps count: TOML 1.0, all kinds of keys, strings, arrays and inline tables.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

/** A place in a text; both count from 1. The column is in UTF-16 code units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Keys, and indexes into arrays. */
export type TomlPath = readonly (string | number)[];

/**
 * Find every key and every array entry of `text`.
 *
 * @param text a valid TOML document.
 * @returns a look-up by path; for a path that is not there, the nearest one above it.
 */
export function tomlPositions(text: string): (path: TomlPath) => Position {
  const offsets = new Map<string, number>();
  scan(text, (path, offset) => {
    const key = JSON.stringify(path);
    if (!offsets.has(key)) offsets.set(key, offset);
  });
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const offset = offsets.get(JSON.stringify(path.slice(0, length)));
      if (offset !== undefined) return positionAt(text, offset);
    }
    return { line: 1, column: 1 };
  };
}

function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}

function scan(text: string, found: (path: TomlPath, offset: number) => void): void {
  let at = 0;
  let table: TomlPath = [];
  const tableCounts = new Map<string, number>();

  /** Past spaces, and where the grammar has them, line ends and comments. */
  const skip = (lines: boolean): void => {
    for (;;) {
      const character = text[at];
      if (character === " " || character === "\t") at++;
      else if (lines && (character === "\n" || character === "\r")) at++;
      else if (lines && character === "#") while (at < text.length && text[at] !== "\n") at++;
      else return;
    }
  };

  /** Past a string of any of the four kinds; its text without the quotes, escapes undone. */
  const string = (): string => {
    const quote = text[at]!;
    const marks = text.startsWith(quote.repeat(3), at) ? 3 : 1;
    const start = (at += marks);
    while (!text.startsWith(quote.repeat(marks), at) && at < text.length) {
      at += quote === '"' && text[at] === "\\" ? 2 : 1;
    }
    // Up to two quotes may stand before the three that close.
    while (marks === 3 && text[at + 3] === quote) at++;
    const raw = text.slice(start, at);
    at += marks;
    return quote === "'" ? raw : unescaped(raw);
  };

  const key = (base: TomlPath): TomlPath => {
    const path = [...base];
    for (;;) {
      skip(false);
      const start = at;
      if (text[at] === '"' || text[at] === "'") path.push(string());
      else {
        while (at < text.length && /[A-Za-z0-9_-]/.test(text[at]!)) at++;
        path.push(text.slice(start, at));
      }
      found(path.slice(), start);
      skip(false);
      if (text[at] !== ".") return path;
      at++;
    }
  };

  const pair = (base: TomlPath): void => {
    const path = key(base);
    at++; // =
    skip(false);
    value(path);
  };

  const value = (path: TomlPath): void => {
    const open = text[at];
    if (open === '"' || open === "'") {
      string();
      return;
    }
    if (open !== "[" && open !== "{") {
      while (at < text.length && !/[,\]}\n\r#]/.test(text[at]!)) at++;
      return;
    }
    at++;
    for (let index = 0; ; index++) {
      skip(true);
      if (text[at] === "]" || text[at] === "}" || at >= text.length) break;
      if (open === "{") pair(path);
      else {
        const entry = [...path, index];
        found(entry, at);
        value(entry);
      }
      skip(true);
      if (text[at] === ",") at++;
    }
    at++;
  };

  for (;;) {
    skip(true);
    if (at >= text.length) return;
    const before = at;
    if (text.startsWith("[[", at)) {
      at += 2;
      const path = key([]);
      const id = JSON.stringify(path);
      const index = tableCounts.get(id) ?? 0;
      tableCounts.set(id, index + 1);
      table = [...path, index];
      found(table, before);
      at += 2;
    } else if (text[at] === "[") {
      at++;
      table = key([]);
      at++;
    } else pair(table);
    // A document that was not valid after all must not hang us.
    if (at === before) return;
  }
}

function unescaped(raw: string): string {
  const simple: Record<string, string> = { b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", e: "\x1b" };
  return raw.replace(
    /\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([^\n]))/g,
    (_, short?: string, long?: string, byte?: string, one?: string) => {
      const hex = short ?? long ?? byte;
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      return simple[one!] ?? one!;
    },
  );
}
