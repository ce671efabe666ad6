import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { editDistance, nearestWord } from "./nearest-word.ts";

const KEYS = ["name", "listen", "peers", "limits", "log"];

test("nearestWord() finds what was meant, and nothing for what is far", () => {
  for (const [typed, meant] of [
    ["lisen", "listen"],
    ["Listen", "listen"],
    ["nmae", "name"],
    ["peer", "peers"],
    ["limit", "limits"],
    ["colour", undefined],
    ["", undefined],
    ["x".repeat(10_000), undefined],
  ] as const) {
    assert.equal(nearestWord(typed, KEYS), meant, typed.slice(0, 10));
  }
  assert.equal(nearestWord("a", []), undefined);
});

test("editDistance() is 0 for the same, symmetric, and at most the longer length", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 8 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      const distance = editDistance(a, b);
      assert.equal(distance === 0, a === b);
      assert.equal(distance, editDistance(b, a));
      assert.ok(distance <= Math.max(a.length, b.length));
    }),
  );
});
