import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { type TomlPath, tomlPositions } from "./toml-positions.ts";

const DOCUMENT = `# a = 1
name = "den" # [x]
listen = [ # first
  "[::]:7433",
  '''
  a = 1 ''', """x \\""" # ]""" ,
]

[peers.laptop]
scopes = ["a", 'b']
"quo.ted \\u0041" = 1
dotted . 'key' = { inner = [1, { deep = true }], other = 1979-05-27T07:32:00Z }
[[list]]
x = 1
[[list]]
x = 2
[list.sub]
y = """a""" # three
z = ""
`;

test("tomlPositions() finds keys and entries", () => {
  const at = tomlPositions(DOCUMENT);
  const is = (path: TomlPath, line: number, column: number): void =>
    assert.deepEqual(at(path), { line, column }, JSON.stringify(path));
  parse(DOCUMENT);
  is(["name"], 2, 1);
  is(["listen"], 3, 1);
  is(["listen", 0], 4, 3);
  is(["listen", 1], 5, 3);
  is(["listen", 2], 6, 14);
  is(["peers"], 9, 2);
  is(["peers", "laptop"], 9, 8);
  is(["peers", "laptop", "scopes", 1], 10, 16);
  is(["peers", "laptop", "quo.ted A"], 11, 1);
  is(["peers", "laptop", "dotted", "key"], 12, 10);
  is(["peers", "laptop", "dotted", "key", "inner", 1, "deep"], 12, 34);
  is(["peers", "laptop", "dotted", "key", "other"], 12, 50);
  is(["list", 0, "x"], 14, 1);
  is(["list", 1, "x"], 16, 1);
});

test("tomlPositions() falls back to what is above", () => {
  const at = tomlPositions(DOCUMENT);
  assert.deepEqual(at(["peers", "laptop", "scopes", 7]), { line: 10, column: 1 });
  assert.deepEqual(at(["peers", "phone"]), { line: 9, column: 2 });
  assert.deepEqual(at(["nothing"]), { line: 1, column: 1 });
  assert.deepEqual(at([]), { line: 1, column: 1 });
});

test("tomlPositions() finds every key of a document that another program wrote", () => {
  const key = fc.string({
    unit: fc.constantFrom("a", "b", ".", '"', "'", "\\", "é", " ", "#", "[", "="),
    minLength: 1,
    maxLength: 5,
  });
  const text = fc.string({
    unit: fc.constantFrom("a", '"', "'", "\\", "\n", "#", "]", "}", ","),
    maxLength: 8,
  });
  const leaf = fc.oneof(
    text,
    fc.integer(),
    fc.boolean(),
    fc.array(text, { maxLength: 3 }),
    fc.array(fc.dictionary(key, text, { maxKeys: 2 }), { maxLength: 2 }),
  );
  const table = fc.dictionary(key, fc.oneof(leaf, fc.dictionary(key, leaf, { maxKeys: 3 })), {
    maxKeys: 4,
  });
  fc.assert(
    fc.property(table, (value) => {
      const document = stringify(value);
      const at = tomlPositions(document);
      const lines = document.split("\n");
      const visit = (part: object, path: TomlPath): void => {
        for (const [name, inner] of Object.entries(part)) {
          const here = [...path, name];
          const { line, column } = at(here);
          const rest = lines[line - 1]!.slice(column - 1);
          // Bare, or quoted as JSON would.
          const shown = /^[A-Za-z0-9_-]/.test(rest)
            ? rest.startsWith(name)
            : rest.startsWith(JSON.stringify(name)) || rest.startsWith(`'${name}'`);
          assert.ok(shown, `${JSON.stringify(here)} at ${line}:${column} of ${document}`);
          if (typeof inner === "object" && inner !== null && !Array.isArray(inner))
            visit(inner as object, here);
        }
      };
      visit(value, []);
    }),
    { numRuns: 500 },
  );
});

test("tomlPositions() comes to an end on anything", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", "[", "]", "{", "}", "=", '"', "'", "\\", "\n", "#", ",", ".", " "),
  });
  fc.assert(
    fc.property(text, (document) => {
      assert.ok(tomlPositions(document)(["a"]).line >= 1);
    }),
    { numRuns: 2_000 },
  );
});
