/**
 * Values on their way to PostgreSQL and back: what the columns of a store, ours or mapped, may be.
 *
 * Numbers, texts and bytes go as they are. Beyond that a mapped column may be a `boolean`, `json`, `jsonb`, or an array
 * of texts, where the rows of a store have 0 and 1, and JSON text.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type { PostgresType } from "postgres";
import { formatTextArray, parseTextArray } from "./text-array.ts";

// Numbers of types, from pg_type; they are the same in every database.
const BOOL = 16;
const JSON_TEXT = 114;
const JSONB = 3802;
const TEXT_ARRAY = 1009;
const VARCHAR_ARRAY = 1015;

/** For the option `types` of postgres.js. */
export const TYPES: Readonly<Record<string, PostgresType>> = {
  bool: {
    to: BOOL,
    from: [BOOL],
    // postgres.js takes everything but `true` for false.
    serialize: (value: unknown) => (value === 1 || value === true ? "t" : "f"),
    parse: (text: string) => text === "t",
  },
  // The text is JSON already, and is read where lengths are looked at first.
  json: { to: JSON_TEXT, from: [JSON_TEXT], serialize: String, parse: String },
  jsonb: { to: JSONB, from: [JSONB], serialize: String, parse: String },
  textArray: { to: TEXT_ARRAY, from: [TEXT_ARRAY], serialize: toArray, parse: fromArray },
  varcharArray: { to: VARCHAR_ARRAY, from: [VARCHAR_ARRAY], serialize: toArray, parse: fromArray },
};

/** JSON text of a list as an array; anything else as it is, for the database to refuse. */
function toArray(value: unknown): string {
  const text = String(value);
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((each) => typeof each === "string")) {
      return formatTextArray(list);
    }
  } catch {
    // It is no JSON.
  }
  return text;
}

function fromArray(text: string): unknown {
  return parseTextArray(text) ?? text;
}
