import assert from "node:assert/strict";
import { test } from "node:test";
import { holding } from "./holding.ts";

test("it is so until the last holder is disposed of, each once", () => {
  const it = holding();
  assert.equal(it.isHeld, false);
  const [one, other] = [it.hold(), it.hold()];
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert.equal(it.isHeld, true);
  other[Symbol.dispose]();
  assert.equal(it.isHeld, false);
});
