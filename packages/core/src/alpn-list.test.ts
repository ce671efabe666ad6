import assert from "node:assert/strict";
import { test } from "node:test";
import { alpnList } from "./alpn-list.ts";

test("alpnList() is the length and a byte for each character", () => {
  assert.deepEqual(alpnList("h2"), Buffer.from("\x02h2"));
  assert.deepEqual(alpnList("\xff"), Buffer.from([1, 0xff]));
  assert.equal(alpnList("a".repeat(255)).length, 256);
});

test("alpnList() refuses what has no place in a list", () => {
  for (const alpn of ["", "a".repeat(256)]) assert.throws(() => alpnList(alpn), RangeError);
});
