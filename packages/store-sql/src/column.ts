/**
 * What is in a column, and what goes into it: strict, and bounded before anything is parsed.
 *
 * Databases and their libraries give one value in several shapes: a number as number, `bigint` or digits, a list
 * as JSON text or (PostgreSQL's `jsonb` and arrays) as a list. Every shape that has one meaning is read.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

/** Longest text of a column, in UTF-16 code units. */
export const MAX_TEXT: number = 2 ** 20;

/** Longest bytes of a column. */
const MAX_BYTES = 65_536;

/** Most entries of a list, most names of an object. */
const MAX_ENTRIES = 1_024;

/** A value that is not what its column is for. The message names the column, and not the value if it is long or secret. */
export class ColumnError extends Error {
  override readonly name = "ColumnError";
  readonly code = "COLUMN_INVALID";
  readonly column: string;

  constructor(
    column: string,
    expected: string,
    value: unknown,
    { isSecret = false }: { readonly isSecret?: boolean } = {},
  ) {
    const hide = isSecret && typeof value === "string";
    const got = hide ? `text of ${value.length} characters` : shown(value);
    super(`cannot read column ${column}: expected ${expected}, got ${got}`);
    this.column = column;
  }
}

/** @throws {ColumnError} */
export function readText(column: string, value: unknown): string {
  if (typeof value === "string" && value.length <= MAX_TEXT) return value;
  throw new ColumnError(column, "text", value);
}

/** @throws {ColumnError} */
export function readOptionalText(column: string, value: unknown): string | undefined {
  return value === null || value === undefined ? undefined : readText(column, value);
}

/** A list of texts; nothing at all is the empty one. @throws {ColumnError} */
export function readTexts(column: string, value: unknown): readonly string[] {
  if (value === null || value === undefined) return [];
  const list = fromJson(column, value, EXPECTED_LIST);
  if (isTexts(list)) return list;
  throw new ColumnError(column, EXPECTED_LIST, value);
}

/** Lists of texts by name; nothing at all is none. @throws {ColumnError} */
export function readTextLists(
  column: string,
  value: unknown,
): Readonly<Record<string, readonly string[]>> {
  if (value === null || value === undefined) return {};
  const lists = fromJson(column, value, EXPECTED_LISTS);
  if (typeof lists === "object" && lists !== null && !Array.isArray(lists)) {
    const entries = Object.entries(lists as Record<string, unknown>);
    if (entries.length <= MAX_ENTRIES && entries.every(([, list]) => isTexts(list))) {
      return lists as Record<string, string[]>;
    }
  }
  throw new ColumnError(column, EXPECTED_LISTS, value);
}

/** Plain JSON, an object. @throws {ColumnError} */
export function readRecord(column: string, value: unknown): Readonly<Record<string, unknown>> {
  const expected = "JSON text of an object";
  const record = fromJson(column, value, expected);
  if (typeof record === "object" && record !== null && !Array.isArray(record)) {
    return record as Record<string, unknown>;
  }
  throw new ColumnError(column, expected, value);
}

/** A whole number of 0 or more that a `number` is exact for. @throws {ColumnError} */
export function readCount(column: string, value: unknown): number {
  const number =
    typeof value === "bigint" || (typeof value === "string" && /^[0-9]{1,16}$/.test(value))
      ? Number(value)
      : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw new ColumnError(column, "a whole number of 0 or more", value);
}

/** @throws {ColumnError} */
export function readOptionalCount(column: string, value: unknown): number | undefined {
  return value === null || value === undefined ? undefined : readCount(column, value);
}

/** @throws {ColumnError} */
export function readBoolean(column: string, value: unknown): boolean {
  if (value === true || value === 1 || value === 1n) return true;
  if (value === false || value === 0 || value === 0n) return false;
  throw new ColumnError(column, "0 or 1", value);
}

/** @throws {ColumnError} */
export function readBytes(column: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array && value.length <= MAX_BYTES) return value;
  // Who writes text where sealed bytes belong may have written the secret itself: it goes into no message.
  throw new ColumnError(column, `at most ${MAX_BYTES} bytes`, value, { isSecret: true });
}

/** Lists that are written as one text; a short one is the same text in every row. */
export function writeTexts(texts: readonly string[]): string {
  return JSON.stringify(texts);
}

/**
 * Whether `value` is what {@linkcode writeTexts} makes of `texts`. Far cheaper than to read it; `false` may mean that
 * it has to be read.
 */
export function saysTexts(value: unknown, texts: readonly string[]): boolean {
  if (value === null) return texts.length === 0;
  if (typeof value !== "string" || value.charCodeAt(0) !== OPEN) return false;
  let at = 1;
  for (let index = 0; index < texts.length; index++) {
    const text = texts[index]!;
    if (index > 0 && value.charCodeAt(at++) !== COMMA) return false;
    if (value.charCodeAt(at++) !== QUOTE || !value.startsWith(text, at)) return false;
    // What has to be escaped is not found like this, and read.
    if (text.includes("\\") || text.includes('"')) return false;
    at += text.length;
    if (value.charCodeAt(at++) !== QUOTE) return false;
  }
  return value.charCodeAt(at) === CLOSE && at + 1 === value.length;
}

const [OPEN, CLOSE, COMMA, QUOTE] = [0x5b, 0x5d, 0x2c, 0x22];

const EXPECTED_LIST = "JSON text of a list of texts";
const EXPECTED_LISTS = "JSON text of an object of lists of texts";

function fromJson(column: string, value: unknown, expected: string): unknown {
  if (typeof value !== "string") return value;
  if (value.length > MAX_TEXT) throw new ColumnError(column, expected, value);
  try {
    return JSON.parse(value);
  } catch {
    throw new ColumnError(column, expected, value);
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_ENTRIES &&
    value.every((text) => typeof text === "string")
  );
}

function shown(value: unknown): string {
  if (typeof value === "string") {
    return value.length > 100
      ? `text of ${value.length} characters`
      : `the text ${JSON.stringify(value)}`;
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "another list" : "an object";
  }
  return String(value);
}
