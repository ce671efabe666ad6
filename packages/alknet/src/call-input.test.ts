import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import * as z from "zod";
import { parseCallInput } from "./call-input.ts";
import { CommandError } from "./command-error.ts";

const level = z.enum(["low", "high"]);
const schema = z.toJSONSchema(
  z.strictObject({
    name: z.string(),
    displayName: z.string().optional(),
    scopes: z.array(z.string()).default([]),
    ports: z.array(z.number().int()).optional(),
    count: z.number().int().nullable().optional(),
    keep: z.boolean().default(false),
    level: level.optional(),
    spec: z.object({ a: z.number() }).optional(),
    either: z.union([z.number(), z.boolean()]).optional(),
    anything: z.unknown().optional(),
  }),
  { io: "input" },
);

const parse = (...words: string[]) => parseCallInput(words, schema);
const refuses = (words: string[], message: RegExp, against: unknown = schema) =>
  assert.throws(() => parseCallInput(words, against), {
    code: "INPUT_INVALID",
    exitCode: 2,
    message,
  });

test("parseCallInput() takes nothing for {}, and one word for JSON", () => {
  assert.deepEqual(parse(), {});
  assert.deepEqual(parse('{"name":"x","n":[1,null]}'), { name: "x", n: [1, null] });
  assert.equal(parse("5"), 5);
  refuses(["{name:1}"], /expected JSON, or --field value: /);
  refuses(["{}", "{}"], /got "\{\}" after it/);
});

test("parseCallInput() gives each field the kind that its schema says", () => {
  assert.deepEqual(parse("--name", "5", "--count", "5", "--keep", "--level", "high"), {
    name: "5",
    count: 5,
    keep: true,
    level: "high",
  });
  assert.deepEqual(parse("--name=--x", "--scopes", "a", "b", "--scopes=c"), {
    name: "--x",
    scopes: ["a", "b", "c"],
  });
  assert.deepEqual(parse("--ports", "80", "-1", "--spec", '{"a":1}', "--count", "null"), {
    ports: [80, -1],
    spec: { a: 1 },
    count: null,
  });
  assert.deepEqual(parse("--ports", "[80,443]", "--scopes"), { ports: [80, 443], scopes: [] });
  assert.deepEqual(parse("--display-name", "a b", "--no-keep", "--either", "true"), {
    displayName: "a b",
    keep: false,
    either: true,
  });
  assert.deepEqual(parse("--keep", "false", "--anything", "[1]"), { keep: false, anything: [1] });
  assert.deepEqual(parse("--anything", "plain"), { anything: "plain" });
});

test("parseCallInput() says which field is wrong, and what was probably meant", () => {
  refuses(["--nmae", "x"], /unknown field --nmae: did you mean --name\?/);
  refuses(["--zzzzzzzz"], /unknown field --zzzzzzzz: expected one of name, displayName, /);
  refuses(["--count", "many"], /expected number or null for --count, got "many"/);
  refuses(["--ports", "80", "x"], /expected number for --ports, got "x"/);
  refuses(["--name"], /expected a value after --name/);
  refuses(["--name", "a", "b"], /expected one value after --name, got 2/);
  refuses(["--no-keep", "x"], /--no-keep takes no value/);
});

test("parseCallInput() follows references, as far as they lead anywhere", () => {
  const Port = z.number().meta({ id: "Port" });
  const referring = z.toJSONSchema(z.object({ port: Port, other: Port }));
  assert.deepEqual(parseCallInput(["--port", "80"], referring), { port: 80 });
  const $ref = "#/$defs/loop";
  const loop = {
    $defs: { loop: { $ref } },
    properties: { a: { $ref }, b: { $ref: "#/no/where" } },
  };
  assert.deepEqual(parseCallInput(["--a", "x", "--b", "1"], loop), { a: "x", b: 1 });
  // Sixteen levels of ten ways each, if each was gone.
  const ways = Array.from({ length: 10 }, () => ({ $ref: "#/properties/a" }));
  const wide = { properties: { a: { anyOf: [...ways, { type: "number" }] } } };
  assert.deepEqual(parseCallInput(["--a", "5"], wide), { a: 5 });
});

test("parseCallInput() goes by the look of a value where it knows no schema", () => {
  const words = ["--a", "1", "--b", "x", "--c", "--__proto__", "1"];
  const input = parseCallInput(words, undefined) as Record<string, unknown>;
  assert.deepEqual(Object.entries(input), [
    ["a", 1],
    ["b", "x"],
    ["c", true],
    ["__proto__", 1],
  ]);
  assert.equal(Object.getPrototypeOf(input), Object.prototype);
});

test("parseCallInput() gives what JSON can say or its own error, whatever the words and the schema", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("--name", "--count=1", "--no-keep", "--", "{}"),
  );
  const anySchema = fc.oneof(fc.jsonValue(), fc.constant(schema as unknown));
  fc.assert(
    fc.property(fc.array(word), anySchema, (words, against) => {
      try {
        assert.notEqual(JSON.stringify(parseCallInput(words, against)), undefined);
      } catch (error) {
        assert.ok(error instanceof CommandError, String(error));
      }
    }),
  );
});
