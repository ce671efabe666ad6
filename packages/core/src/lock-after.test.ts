import assert from "node:assert/strict";
import { test } from "node:test";
import { LOCK_AFTER_PATTERN, parseLockAfter } from "./lock-after.ts";

test("parseLockAfter() reads a duration within bounds, or never", () => {
  assert.equal(parseLockAfter("never"), undefined);
  assert.equal(parseLockAfter("1s"), 1_000);
  assert.equal(parseLockAfter("1h30m"), 5_400_000);
  assert.equal(parseLockAfter("30d"), 2_592_000_000);
  for (const text of ["999ms", "0s", "30d1ms"]) {
    assert.throws(() => parseLockAfter(text), { message: /expected 1s to 30d, or never$/ }, text);
  }
  for (const text of ["", "Never", "1 h", "-1s"]) {
    assert.throws(() => parseLockAfter(text), { code: "DURATION_INVALID" }, text);
    assert.doesNotMatch(text, new RegExp(LOCK_AFTER_PATTERN));
  }
  for (const text of ["never", "1h30m"]) assert.match(text, new RegExp(LOCK_AFTER_PATTERN));
});
