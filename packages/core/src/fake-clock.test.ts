import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";

test("FakeClock moves when it is advanced, and only then", () => {
  const clock = new FakeClock(1_000);
  assert.deepEqual([clock.now(), clock.wallTime()], [0, 1_000]);
  clock.advance(250);
  assert.deepEqual([clock.now(), clock.wallTime()], [250, 1_250]);
  clock.setWallTime(5);
  clock.advance(1);
  assert.deepEqual([clock.now(), clock.wallTime()], [251, 6]);
  assert.throws(() => clock.advance(-1), RangeError);
});

test("timeout() aborts in the order in which signals are due, each at its time", () => {
  const clock = new FakeClock();
  const seen: [string, number][] = [];
  const wait = (name: string, milliseconds: number): AbortSignal => {
    const signal = clock.timeout(milliseconds);
    signal.addEventListener("abort", () => seen.push([name, clock.now()]));
    return signal;
  };
  const late = wait("late", 30);
  wait("early", 10).addEventListener("abort", () => wait("nested", 5));
  clock.advance(9);
  assert.deepEqual(seen, []);
  clock.advance(20);
  assert.deepEqual(seen, [
    ["early", 10],
    ["nested", 15],
  ]);
  assert.equal(late.aborted, false);
  clock.advance(1);
  assert.equal(late.aborted, true);
  assert.equal((late.reason as Error).name, "TimeoutError");
  assert.equal(clock.pending, 0);
});
