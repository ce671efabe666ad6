import assert from "node:assert/strict";
import { test } from "node:test";
import { withoutStack } from "./without-stack.ts";

test("withoutStack() makes an error whose stack is its text alone", () => {
  const error = withoutStack(() => new RangeError("gone", { cause: 7 }));
  assert.equal(error.stack, "RangeError: gone");
  assert.equal(error.cause, 7);
});

test("withoutStack() leaves the stacks of all other errors as they were, also when it throws", () => {
  const before = Error.stackTraceLimit;
  assert.throws(
    () =>
      withoutStack(() => {
        throw new TypeError("no error to be had");
      }),
    TypeError,
  );
  assert.equal(Error.stackTraceLimit, before);
  assert.match(new Error("here").stack ?? "", /without-stack\.test\.ts/);
});
