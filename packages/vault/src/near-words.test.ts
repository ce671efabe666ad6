import assert from "node:assert/strict";
import { test } from "node:test";
import { nearWords } from "./near-words.ts";

const words = ["abandon", "ability", "able", "about", "above", "random", "zoo"];

test("nearWords() finds a letter too many, too few, wrong, or two swapped", () => {
  for (const typed of ["abbandon", "abndon", "abandom", "abadnon"]) {
    assert.equal(nearWords(typed, words)[0], "abandon", typed);
  }
});

test("nearWords() finds what was cut short", () => {
  assert.equal(nearWords("aban", words)[0], "abandon");
});

test("nearWords() names three at most, and none when nothing is near", () => {
  assert.deepEqual(nearWords("abou", words), ["about", "able", "above"]);
  assert.deepEqual(nearWords("cryptography", words), []);
  assert.deepEqual(nearWords("", words), []);
});
