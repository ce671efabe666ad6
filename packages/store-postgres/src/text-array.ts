/**
 * Arrays of texts, as PostgreSQL writes them: `{a,"b c",NULL}` (manual, 8.15.2 and 8.15.6).
 *
 * A mapped table may have its lists in a column of type `text[]`.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

/**
 * Parse an array of one dimension.
 *
 * @returns `undefined` if it is none, or something in it is `NULL`.
 */
export function parseTextArray(text: string): readonly string[] | undefined {
  if (text === "{}") return [];
  if (!text.startsWith("{") || !text.endsWith("}")) return undefined;
  const found: string[] = [];
  const element = /(?:"((?:[^"\\]|\\[^])*)"|([^",{}\\\s]+))([,}])/gy;
  element.lastIndex = 1;
  while (element.lastIndex < text.length) {
    const match = element.exec(text);
    if (match === null) return undefined;
    const [, quoted, plain, end] = match;
    if (plain !== undefined && plain.toUpperCase() === "NULL") return undefined;
    found.push(plain ?? (quoted ?? "").replaceAll(/\\([^])/g, "$1"));
    if ((end === "}") !== (element.lastIndex === text.length)) return undefined;
  }
  return found;
}

/** Undone by {@linkcode parseTextArray}. */
export function formatTextArray(texts: readonly string[]): string {
  const quoted = texts.map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`);
  return `{${quoted.join(",")}}`;
}
