/**
 * From the text of `alknet.toml` to a configuration that can be used, or to all that is wrong with it.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { parse, TomlError } from "smol-toml";
import { type Config, DEFAULT_LISTEN } from "./config.ts";
import { conflicts } from "./config-conflicts.ts";
import { ConfigInvalid, type ConfigProblem, MAX_PROBLEMS, problemAt } from "./config-problem.ts";
import { type JsonSchema, schemaAt } from "./config-json-schema.ts";
import { readSchema, type SchemaIssue, valueAt } from "./config-schema.ts";
import { nearestWord } from "./nearest-word.ts";
import { type TomlPath, tomlPositions } from "./toml-positions.ts";

/**
 * Parse a configuration. Paths in it go from the folder of `path` on.
 *
 * @throws {ConfigInvalid} with each thing that is wrong, its line and column: not TOML, an unknown key (with
 *   the one that was probably meant), a value that does not parse, peers that clash.
 */
export function parseConfig(text: string, path: string): Config {
  return parseDocument(text, path).config;
}

/** A file that can be used. */
export interface ParsedDocument {
  readonly config: Config;
  /** As it was written. */
  readonly written: object;
  /** The same with its defaults. */
  readonly complete: object;
}

/** @throws {ConfigInvalid} as {@linkcode parseConfig} does. */
export function parseDocument(text: string, path: string): ParsedDocument {
  const written = parseToml(text, path);
  const { outcome, issues = [] } = readSchema(written);
  const found = [
    ...issues.map((issue) => ({ at: issue.path, message: describe(issue, written) })),
    ...conflicts(written),
  ];
  if (outcome === undefined || found.length > 0) {
    const positions = tomlPositions(text);
    const told = new Map<string, ConfigProblem>();
    for (const { at, message } of found.slice(0, MAX_PROBLEMS)) {
      told.set(JSON.stringify(at), problemAt(text, positions(at), at, message));
    }
    const problems = [...told.values()].toSorted((a, b) => a.line - b.line || a.column - b.column);
    throw new ConfigInvalid(path, Object.freeze(problems));
  }
  return { config: outcome.config(path), written, complete: outcome.complete };
}

function parseToml(text: string, path: string): object {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The first line; the rest quotes the document.
    const message = error.message.split("\n")[0]!.replace("Invalid TOML document: ", "");
    const problem = problemAt(text, error, undefined, `not TOML: ${message}`);
    throw new ConfigInvalid(path, [problem], { cause: error });
  }
}

// What to say

function describe(issue: SchemaIssue, written: object): string {
  const { path } = issue;
  const key = String(path.at(-1));
  switch (issue.kind) {
    case "text":
      return issue.message;
    case "unknown key":
      return unknownKey(path);
    case "missing":
      return `expected "${key}" in ${placeOf(path.slice(0, -1))}: ${expectedOf(schemaAt(path))}`;
    case "form":
      return wrongForm(schemaAt(path), valueAt(written, path));
  }
}

function unknownKey(path: TomlPath): string {
  const key = String(path.at(-1));
  const above = path.slice(0, -1);
  const keys = Object.keys(schemaAt(above)?.properties ?? {});
  const where = above.length === 0 ? "" : ` in ${placeOf(above)}`;
  const expected = keys.map(quoted).join(", ");
  const near = nearestWord(key, keys);
  const home = near === undefined ? placeFor(key) : undefined;
  const hint =
    near !== undefined
      ? `; did you mean "${near}"?`
      : home !== undefined
        ? `; it belongs ${home}`
        : "";
  return `unknown key ${quoted(key)}${where}: expected one of ${expected}${hint}`;
}

/** Where a key that stands in the wrong table would be right. */
function placeFor(key: string): string | undefined {
  const root = schemaAt([])?.properties ?? {};
  if (Object.hasOwn(root, key)) return "before the first [table]";
  const sections = Object.entries(root).flatMap(([name, schema]) => {
    const inner = schema.additionalProperties || schema.items || schema;
    const place = schema.additionalProperties ? `${name}.NAME` : name;
    if (!Object.hasOwn(inner.properties ?? {}, key)) return [];
    return [schema.items === undefined ? `to [${place}]` : `to [[${place}]]`];
  });
  return sections[0];
}

/** `[peers.laptop]`; of the whole file, its top. */
function placeOf(path: TomlPath): string {
  if (path.length === 0) return "the file";
  const names = path.filter((each) => typeof each === "string").join(".");
  return path.some((each) => typeof each === "number") ? `[[${names}]]` : `[${names}]`;
}

function wrongForm(schema: JsonSchema | undefined, value: unknown): string {
  if (schema?.enum !== undefined && typeof value === "string") {
    const expected = schema.enum.map(quoted).join(", ");
    const near = nearestWord(value, schema.enum);
    const hint = near === undefined ? "" : `; did you mean "${near}"?`;
    return `unknown value ${quoted(value)}: expected one of ${expected}${hint}`;
  }
  // Of the right kind, so of a wrong size.
  const size = Array.isArray(value) || typeof value === "string" ? value.length : undefined;
  const expected = expectedOf(schema, value);
  const found = /^at (least|most) /.test(expected) ? String(size) : kindOf(value);
  return `expected ${expected}, found ${found}`;
}

/** What the schema wants, in words. */
function expectedOf(schema: JsonSchema | undefined, value?: unknown): string {
  if (schema === undefined) return "nothing here";
  const { type, anyOf, minItems, maxItems, maxLength, minimum, maximum } = schema;
  if (anyOf !== undefined) {
    const list = anyOf.find((each) => each.type === "array");
    if (Array.isArray(value) && list !== undefined) return expectedOf(list, value);
    return "text in quotes, or a list of such";
  }
  switch (type) {
    case "object":
      return "a table";
    case "array":
      if (!Array.isArray(value)) return "a list";
      return value.length === 0 && minItems !== undefined
        ? `at least ${minItems} entry, such as ${JSON.stringify(DEFAULT_LISTEN[0])}`
        : `at most ${maxItems} entries`;
    case "string":
      if (schema.enum !== undefined) return `one of ${schema.enum.map(quoted).join(", ")}`;
      if (typeof value === "string" && maxLength !== undefined) {
        return `at most ${maxLength} characters`;
      }
      if (schema.format === "date-time") return "a time with its zone: 2026-12-31T18:00:00Z";
      return schema.pattern?.includes("ms") === true
        ? 'a duration in quotes, such as "10s"'
        : "text in quotes";
    case "integer":
      return `a whole number, ${minimum} to ${maximum}`;
    case "boolean":
      return "true or false";
    case undefined:
      return "something else";
  }
  return type satisfies never;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "string") return "text";
  const plain = typeof value === "number" || typeof value === "boolean";
  return plain ? `${typeof value} ${value}` : "a table";
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
