import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { inputJsonSchema, outputJsonSchema, uncheckedSchema } from "./json-schema.ts";

test("a schema has two sides, and so has its JSON Schema", () => {
  const schema = z.object({ depth: z.number().default(1) });
  const depth = { default: 1, type: "number" };
  assert.deepEqual(inputJsonSchema(schema), { type: "object", properties: { depth } });
  assert.deepEqual(outputJsonSchema(schema), {
    type: "object",
    properties: { depth },
    required: ["depth"],
    additionalProperties: false,
  });
});

test("what JSON Schema cannot say is anything, around what it can", () => {
  const schema = z.object({ at: z.date(), name: z.string() });
  assert.deepEqual(inputJsonSchema(schema), {
    type: "object",
    properties: { at: {}, name: { type: "string" } },
    required: ["at", "name"],
  });
  assert.deepEqual(inputJsonSchema(z.void()), {});
});

test("a Standard Schema of a library without JSON Schema is anything", () => {
  const plain = {
    "~standard": { version: 1, vendor: "x", validate: () => ({ value: 1 }) },
  } as const;
  assert.deepEqual(inputJsonSchema(plain), {});
});

test("uncheckedSchema() says what it was given, and takes everything", () => {
  const schema = uncheckedSchema({ type: "string" });
  assert.deepEqual(inputJsonSchema(schema), { type: "string" });
  assert.deepEqual(outputJsonSchema(schema), { type: "string" });
  assert.deepEqual(schema["~standard"].validate(5), { value: 5 });
});

test("a schema is converted once: anybody may ask for it, as often as they like", () => {
  const schema = z.object({ name: z.string() });
  assert.equal(inputJsonSchema(schema), inputJsonSchema(schema));
  assert.notEqual(inputJsonSchema(schema), outputJsonSchema(schema));
});
