import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { formatTextArray, parseTextArray } from "./text-array.ts";

test("parseTextArray() undoes formatTextArray()", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
      assert.deepEqual(parseTextArray(formatTextArray(texts)), texts);
    }),
  );
});

test("parseTextArray() reads what PostgreSQL writes", () => {
  const cases: [string, readonly string[] | undefined][] = [
    ["{}", []],
    ["{a}", ["a"]],
    ["{a,b:c/*}", ["a", "b:c/*"]],
    ['{"",a}', ["", "a"]],
    ['{"a b","c\\"d","e\\\\f","{}",",","NULL"}', ["a b", 'c"d', "e\\f", "{}", ",", "NULL"]],
    ['{"a\nb"}', ["a\nb"]],
    ["{a,NULL}", undefined],
    ["{{a},{b}}", undefined],
    ["[0:1]={a,b}", undefined],
    ["{a,}", undefined],
    ["{a}b}", undefined],
    ['{"a}', undefined],
    ["{a", undefined],
    ["", undefined],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseTextArray(text), expected, text);
});

test("parseTextArray() never throws, whatever it is given", () => {
  fc.assert(fc.property(fc.string(), (text) => void parseTextArray(`{${text}}`)));
});
