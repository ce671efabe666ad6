import assert from "node:assert/strict";
import { test } from "node:test";
import { deadlines } from "./deadlines.ts";
import { FakeClock } from "./fake-clock.ts";

test("deadlines() expires each in its time, with one timer at a time", () => {
  const clock = new FakeClock();
  const { add } = deadlines(1_000, clock);
  const expired: string[] = [];
  add(() => expired.push("a"));
  clock.advance(400);
  const stop = add(() => expired.push("b"));
  add(() => expired.push("c"));
  assert.equal(clock.pending, 1);
  clock.advance(599);
  assert.equal(expired.length, 0);
  clock.advance(1);
  assert.deepEqual(expired, ["a"]);
  assert.equal(clock.pending, 1);
  stop();
  clock.advance(400);
  assert.deepEqual(expired, ["a", "c"]);
  assert.equal(clock.pending, 0, "nothing waits, and no timer runs");
  add(() => expired.push("d"));
  clock.advance(1_000);
  assert.deepEqual(expired, ["a", "c", "d"]);
});

test("deadlines() may be added to, and stopped, from one that expires", () => {
  const clock = new FakeClock();
  const { add } = deadlines(10, clock);
  const expired: string[] = [];
  let stop = (): void => {};
  add(() => {
    expired.push("first");
    stop();
    add(() => expired.push("later"));
  });
  stop = add(() => expired.push("stopped"));
  clock.advance(10);
  assert.deepEqual(expired, ["first"]);
  clock.advance(10);
  assert.deepEqual(expired, ["first", "later"]);
});
