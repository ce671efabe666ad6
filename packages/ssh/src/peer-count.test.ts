import assert from "node:assert/strict";
import { test } from "node:test";
import { peerCount } from "./peer-count.ts";

test("peerCount() lets each peer have so many at a time, and gives a place back once", () => {
  const count = peerCount();
  const first = count("laptop", 2);
  const second = count("laptop", 2);
  assert.ok(first !== undefined && second !== undefined);
  assert.equal(count("laptop", 2), undefined);
  assert.ok(count("phone", 1) !== undefined);
  first();
  first();
  assert.ok(count("laptop", 2) !== undefined);
  assert.equal(count("laptop", 2), undefined);
});
