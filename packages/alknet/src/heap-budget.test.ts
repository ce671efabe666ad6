import assert from "node:assert/strict";
import { test } from "node:test";
import { growingPercent } from "./heap-budget.ts";

test("growingPercent() leaves room for the same garbage, however large the heap is", () => {
  const MB = 2 ** 20;
  for (const used of [10, 50, 100, 300]) {
    const garbage = (used * growingPercent(used * MB)) / 100;
    assert.ok(Math.abs(garbage - 192) <= 0.05 * used, `${used} MB may grow by ${garbage} MB`);
  }
  assert.equal(growingPercent(MB), 3_000);
  assert.equal(growingPercent(4_096 * MB), 30);
});
