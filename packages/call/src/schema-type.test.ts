import assert from "node:assert/strict";
import { test } from "node:test";
import * as z from "zod";
import { comment, propertyName, typeOfSchema } from "./schema-type.ts";

const typeOf = (schema: unknown): string => typeOfSchema(schema, "T").type;
const zod = (schema: z.ZodType): string => typeOf(z.toJSONSchema(schema));

test("typeOfSchema() says what zod's schemas say", () => {
  assert.equal(zod(z.string()), "string");
  assert.equal(zod(z.int()), "number");
  assert.equal(zod(z.enum(["a", "b"])), '"a" | "b"');
  assert.equal(zod(z.literal(["a", 1, null])), '"a" | 1 | null');
  assert.equal(zod(z.array(z.string().or(z.number()))), "(string | number)[]");
  assert.equal(zod(z.tuple([z.string(), z.number()])), "[string, number]");
  assert.equal(zod(z.tuple([z.string()], z.boolean())), "[string, ...boolean[]]");
  assert.equal(zod(z.record(z.string(), z.number())), "Record<string, number>");
  assert.equal(zod(z.nullable(z.string())), "string | null");
  assert.equal(zod(z.unknown()), "unknown");
  assert.equal(zod(z.never()), "never");
  assert.equal(
    zod(z.object({ path: z.string(), depth: z.number().optional() })),
    "{ path: string; depth?: number | undefined; }",
  );
  assert.equal(
    typeOf({ allOf: [{ const: 1 }, { anyOf: [{ const: 1 }, { const: 2 }] }] }),
    "1 & (1 | 2)",
  );
  assert.equal(
    zod(
      z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("x") }),
        z.object({ kind: z.literal("y"), n: z.number() }),
      ]),
    ),
    '{ kind: "x"; } | { kind: "y"; n: number; }',
  );
  assert.equal(zod(z.looseObject({ a: z.string() })), "{ a: string; } & Record<string, unknown>");
});

test("typeOfSchema() gives a name to what refers to itself", () => {
  const tree = z.object({
    name: z.string(),
    get children() {
      return z.array(tree);
    },
  });
  const { type, declarations } = typeOfSchema(z.toJSONSchema(tree), "Tree");
  assert.equal(type, "Tree");
  assert.deepEqual(declarations, ["type Tree = { name: string; children: Tree[]; };"]);
});

test("typeOfSchema() knows $defs, and two of them by two names", () => {
  const schema = {
    type: "object",
    properties: {
      a: { $ref: "#/$defs/x-y" },
      b: { $ref: "#/$defs/x.y" },
      c: { $ref: "#/$defs/x-y" },
    },
    required: ["a", "b", "c"],
    $defs: { "x-y": { type: "string" }, "x.y": { type: "number" } },
  };
  assert.deepEqual(typeOfSchema(schema, "T"), {
    type: "{ a: T_x_y; b: T_x_y_2; c: T_x_y; }",
    declarations: ["type T_x_y = string;", "type T_x_y_2 = number;"],
  });
});

test("typeOfSchema() is `unknown` where it does not understand, and never follows a reference outside", () => {
  for (const schema of [
    undefined,
    null,
    7,
    "string",
    [],
    { type: "colour" },
    { $ref: "https://x/y" },
  ]) {
    assert.equal(typeOf(schema), "unknown");
  }
  assert.equal(typeOf({ $ref: "#/constructor" }), "unknown");
  // All numbers that JSON can say, and the type of one that it can not.
  assert.equal(typeOf(JSON.parse('{ "enum": [1e999, -1e999] }')), "number");
  assert.equal(typeOf(JSON.parse('{ "enum": [-0, 1.5e300] }')), "0 | 1.5e+300");
});

test("typeOfSchema() has an end: in depth, and in length", () => {
  let deep: unknown = { type: "string" };
  for (let i = 0; i < 100_000; i += 1) deep = { type: "array", items: deep };
  assert.equal(typeOf(deep), `unknown${"[]".repeat(65)}`);

  // Each level is said twice: 2^40 strings, if they were written out.
  let wide: unknown = { type: "object", properties: { x: { const: "x".repeat(100) } } };
  for (let i = 0; i < 40; i += 1) wide = { type: "array", prefixItems: [wide, wide] };
  assert.throws(() => typeOf(wide), RangeError);
});

test("what a stranger writes stays in its quotes and comments", () => {
  assert.equal(
    comment({ description: "ends */ here\n// or here\u2028" }),
    "/** ends *\\/ here // or here */\n",
  );
  assert.equal(propertyName('a"; evil: 1; "b'), '"a\\"; evil: 1; \\"b"');
  assert.equal(propertyName("__proto__"), '"__proto__"');
  assert.equal(typeOf({ const: "\u202e\u2028" }), '"\\u202e\\u2028"');
  assert.equal(typeOf({ enum: ['"] | any'] }), '"\\"] | any"');
});
