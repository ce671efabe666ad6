/**
 * The input of a call as a command line has it: one JSON document, or `--field value…`.
 *
 * What a value is the operation's JSON Schema says: text stays text where text is wanted, and `5` is a number where
 * that is. The schema is another node's, and is only looked at.
 *
 * Pure: no I/O.
 *
 * @module
 */

import { nearestWord } from "@alknet/core/nearest-word";
import { CommandError, ExitCode } from "./command-error.ts";

/** References that are followed one after another. */
const MAX_REFERENCES = 16;

type Schema = Readonly<Record<string, unknown>>;

/**
 * Parse what follows the operation's name.
 *
 * @param schema of the input; `undefined`: nobody knows, and values are JSON where they can be.
 * @throws {CommandError} `INPUT_INVALID`
 */
export function parseCallInput(words: readonly string[], schema: unknown): unknown {
  const [first] = words;
  if (first === undefined) return {};
  if (first.startsWith("--")) return parseFields(words, isObject(schema) ? schema : {});
  if (words.length === 1) return parseJson(first);
  throw invalid(`expected one JSON document, or --field value, got ${quoted(words[1]!)} after it`);
}

/** @throws {CommandError} `INPUT_INVALID` */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`expected JSON, or --field value: ${(error as Error).message}`);
  }
}

function parseFields(words: readonly string[], schema: Schema): object {
  const given = new Map<string, string[]>();
  const negated = new Set<string>();
  let values: string[] = [];
  for (const word of words) {
    if (!word.startsWith("--")) {
      values.push(word);
      continue;
    }
    const [, name, value] = /^--([^=]*)(?:=([^]*))?$/.exec(word)!;
    const field = fieldOf(name!, schema);
    if (field.negated) negated.add(field.name);
    values = given.get(field.name) ?? [];
    if (value !== undefined) values.push(value);
    given.set(field.name, values);
  }
  const fields = [...given].map(([name, texts]): [string, unknown] => {
    if (!negated.has(name)) return [name, valueOf(name, texts, propertyOf(schema, name), schema)];
    if (texts.length > 0) throw invalid(`--no-${name} takes no value`);
    return [name, false];
  });
  // A field of any name is a field, and no prototype.
  return Object.fromEntries(fields);
}

/** Fields are found as they are called, or as options are written: `--display-name` is `displayName`. */
function fieldOf(
  written: string,
  schema: Schema,
): { readonly name: string; readonly negated: boolean } {
  const names = Object.keys(propertiesOf(schema));
  const [positive] = [written, camelCase(written)].filter((name) => names.includes(name));
  if (positive !== undefined) return { name: positive, negated: false };
  if (written.startsWith("no-")) {
    const negative = camelCase(written.slice(3));
    if (names.includes(negative)) return { name: negative, negated: true };
  }
  if (schema["additionalProperties"] !== false) return { name: written, negated: false };
  const meant = nearestWord(camelCase(written), names);
  const known = names.length === 0 ? "it takes none" : `expected one of ${names.join(", ")}`;
  const text = meant === undefined ? known : `did you mean --${meant}?`;
  throw invalid(`unknown field --${written}: ${text}`);
}

function valueOf(name: string, texts: readonly string[], schema: Schema, root: Schema): unknown {
  const kinds = kindsOf(schema, root);
  const [text] = texts;
  if (kinds.has("array") && !(texts.length === 1 && text!.startsWith("["))) {
    const items = resolved(isObject(schema["items"]) ? schema["items"] : {}, root);
    return texts.map((each) => scalar(name, each, items, root));
  }
  if (text === undefined) {
    if (kinds.has("boolean") || kinds.size === 0) return true;
    throw invalid(`expected a value after --${name}`);
  }
  if (texts.length > 1) throw invalid(`expected one value after --${name}, got ${texts.length}`);
  return scalar(name, text, schema, root);
}

function scalar(name: string, text: string, schema: Schema, root: Schema): unknown {
  const kinds = kindsOf(schema, root);
  if (kinds.has("string")) return text;
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Text, then, where that may be.
  }
  if (kinds.size === 0 || kinds.has(kindOf(value))) return value;
  throw invalid(`expected ${[...kinds].join(" or ")} for --${name}, got ${quoted(text)}`);
}

type Kind = "string" | "number" | "boolean" | "null" | "array" | "object";

function kindOf(value: unknown): Kind {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : (typeof value as Kind);
}

/** What may stand there, as far as the schema says; none: anything. */
function kindsOf(schema: Schema, root: Schema): ReadonlySet<Kind> {
  const kinds = new Set<Kind>();
  // Once at each place: what refers to itself in several would be looked at for ever.
  const seen = new Set<Schema>();
  const look = (value: unknown, depth: number): void => {
    if (!isObject(value) || depth > MAX_REFERENCES) return;
    const found = resolved(value, root);
    if (seen.has(found)) return;
    seen.add(found);
    const { type, anyOf, oneOf, enum: values, const: only } = found;
    for (const each of [type].flat()) {
      if (each === "integer") kinds.add("number");
      else if (typeof each === "string") kinds.add(each as Kind);
    }
    if (type !== undefined) return;
    for (const each of Array.isArray(values) ? values : []) kinds.add(kindOf(each));
    if (only !== undefined) kinds.add(kindOf(only));
    for (const each of [anyOf, oneOf].flat()) look(each, depth + 1);
  };
  look(schema, 0);
  return kinds;
}

function propertyOf(schema: Schema, name: string): Schema {
  const properties = propertiesOf(schema);
  const found = Object.hasOwn(properties, name) ? properties[name] : undefined;
  return isObject(found) ? resolved(found, schema) : {};
}

function propertiesOf({ properties }: Schema): Schema {
  return isObject(properties) ? properties : {};
}

/** Follow `$ref` within the schema. */
function resolved(schema: Schema, root: Schema): Schema {
  let at = schema;
  for (let count = 0; typeof at["$ref"] === "string" && count < MAX_REFERENCES; count++) {
    let target: unknown = root;
    for (const key of at["$ref"].split("/").slice(1)) {
      target = isObject(target) && Object.hasOwn(target, key) ? target[key] : undefined;
    }
    if (!isObject(target)) return {};
    at = target;
  }
  return at;
}

function camelCase(name: string): string {
  return name.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

function invalid(text: string): CommandError {
  return new CommandError(`cannot read the input: ${text}`, {
    code: "INPUT_INVALID",
    exitCode: ExitCode.USAGE,
    hint: `for example --name laptop, or '{"name":"laptop"}'; what it takes: alknet ops TARGET OPERATION`,
  });
}
