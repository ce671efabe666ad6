import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "smol-toml";
import { defaultConfig } from "./config.ts";
import { EXAMPLE_CONFIG, configPage, configTemplate } from "./config-page.ts";
import { parseConfig } from "./config-parse.ts";
import { configJsonSchema, type JsonSchema } from "./config-json-schema.ts";

/** What `value` breaks of `schema`: the part of draft 2020-12 that ours uses, which must be all of it. */
function violations(schema: JsonSchema, value: unknown, at = ""): string[] {
  const { type, anyOf, properties = {}, items, required = [], propertyNames } = schema;
  const used = new Set(
    "$schema title description type properties required additionalProperties propertyNames items anyOf enum pattern format default examples minimum maximum minItems maxItems maxLength".split(
      " ",
    ),
  );
  for (const key of Object.keys(schema)) assert.ok(used.has(key), `${key} at ${at}`);
  if (anyOf !== undefined) {
    const each = anyOf.map((one) => violations(one, value, at));
    return each.some((found) => found.length === 0) ? [] : each.flat();
  }
  if (value instanceof Date) value = value.toISOString();
  const kind = Array.isArray(value)
    ? "array"
    : Number.isInteger(value)
      ? "integer"
      : value === null
        ? "null"
        : typeof value;
  if (type !== undefined && type !== kind) return [`${at}: expected ${type}, found ${kind}`];
  if (Array.isArray(value)) {
    const { minItems = 0, maxItems = Infinity } = schema;
    const wrong = value.length < minItems || value.length > maxItems ? [`${at}: size`] : [];
    return [...wrong, ...value.flatMap((it, index) => violations(items!, it, `${at}[${index}]`))];
  }
  if (kind === "object") {
    const table = value as Record<string, unknown>;
    const missing = required.filter((key) => !Object.hasOwn(table, key));
    return [
      ...missing.map((key) => `${at}: no ${key}`),
      ...Object.entries(table).flatMap(([key, inner]) => {
        const here = `${at}.${key}`;
        if (Object.hasOwn(properties, key)) return violations(properties[key]!, inner, here);
        if (!schema.additionalProperties) return [`${here}: unknown`];
        const name = propertyNames === undefined ? [] : violations(propertyNames, key, `${here}?`);
        return [...name, ...violations(schema.additionalProperties, inner, here)];
      }),
    ];
  }
  const { pattern, minimum = -Infinity, maximum = Infinity, maxLength = Infinity } = schema;
  if (schema.enum !== undefined && !schema.enum.includes(value as string)) return [`${at}: enum`];
  if (typeof value === "string" && value.length > maxLength) return [`${at}: length`];
  if (pattern !== undefined && !new RegExp(pattern).test(String(value))) return [`${at}: pattern`];
  return typeof value === "number" && (value < minimum || value > maximum) ? [`${at}: range`] : [];
}

function* schemas(schema: JsonSchema, at: string): Generator<[string, JsonSchema]> {
  yield [at, schema];
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    yield* schemas(inner, `${at}.${key}`);
  }
  if (schema.additionalProperties) yield* schemas(schema.additionalProperties, `${at}.*`);
  if (schema.items) yield* schemas(schema.items, `${at}[]`);
}

test("the JSON Schema takes what parseConfig() takes, and refuses what it refuses by form", () => {
  const schema = configJsonSchema();
  assert.equal(schema.$schema, "https://json-schema.org/draft/2020-12/schema");
  for (const text of [EXAMPLE_CONFIG, configTemplate(), ""]) {
    parseConfig(text, "x.toml");
    assert.deepEqual(violations(schema, parse(text)), []);
  }
  const hash = `"sha256:${"0".repeat(64)}"`;
  for (const text of [
    "colour = 1",
    "name = 1",
    'name = "a b"',
    "listen = []",
    "[limits]\nconnections = 0",
    '[limits]\ndrain = "10"',
    '[log]\nlevel = "loud"',
    '[peers."a b"]',
    '[peers.a]\nfingerprint = "x"',
    '[[api_keys]]\nprefix = "alk_abcd"',
    `[[api_keys]]\nprefix = "x"\nhash = ${hash}`,
  ]) {
    assert.throws(() => parseConfig(text, "x.toml"), { code: "CONFIG_INVALID" }, text);
    assert.notDeepEqual(violations(schema, parse(text)), [], text);
  }
});

test("every place of the schema has a description, and examples and defaults that it takes", () => {
  for (const [at, schema] of schemas(configJsonSchema(), "")) {
    const { description, default: value, examples = [] } = schema;
    if (at !== "" && !at.endsWith("[]")) {
      // Of lists of names, what they list says it.
      assert.ok(description !== undefined || schema.enum !== undefined, `${at} has no description`);
    }
    for (const each of [...examples, ...(value === undefined ? [] : [value])]) {
      assert.deepEqual(violations(schema, each), [], at);
    }
  }
});

test("configPage() names every key of the schema, and is what docs/configuration.md is", () => {
  const page = configPage();
  for (const [at, { properties = {} }] of schemas(configJsonSchema(), "")) {
    for (const key of Object.keys(properties)) {
      const heading = new RegExp(`^##.*[\`.[]${key}[\`.\\]]`, "m");
      assert.match(page, heading, `${at}.${key}`);
    }
  }
  const file = join(import.meta.dirname, "../../../docs/configuration.md");
  assert.ok(readFileSync(file, "utf8") === page, "run: npm run config-page");
});

test("configTemplate() says what an empty file does, and names every key", () => {
  const text = configTemplate();
  assert.deepEqual(parseConfig(text, "x.toml"), defaultConfig("x.toml"));
  // With its comments taken away, but for those that are words.
  for (const [at, { properties = {} }] of schemas(configJsonSchema(), "")) {
    for (const key of Object.keys(properties)) {
      assert.match(text, new RegExp(`^(# )?(${key} = |\\[.*\\b${key}\\b)`, "m"), `${at}.${key}`);
    }
  }
});
