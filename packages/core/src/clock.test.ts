import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "./clock.ts";

test("systemClock tells both times in milliseconds, and never goes back", () => {
  const before = systemClock.now();
  assert.ok(systemClock.now() >= before);
  assert.ok(systemClock.wallTime() > Date.UTC(2026, 0, 1));
});

test("timeout() aborts with a TimeoutError, and keeps no process alive", async () => {
  const signal = systemClock.timeout(1);
  // The signal alone would let the process end here.
  const alive = setInterval(() => {}, 1_000);
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  clearInterval(alive);
  assert.equal((signal.reason as Error).name, "TimeoutError");
});

test("timeout() takes any duration: fractions, and more than a timer can wait", async () => {
  const signal = systemClock.timeout(0.25);
  const long = [
    systemClock.timeout(2 ** 31),
    systemClock.timeout(2 ** 53),
    systemClock.timeout(Infinity),
  ];
  const alive = setInterval(() => {}, 1_000);
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  // Node's timers take what is too long for 1 ms.
  await new Promise((resolve) => systemClock.timeout(2).addEventListener("abort", resolve));
  clearInterval(alive);
  assert.deepEqual(
    long.map(({ aborted }) => aborted),
    [false, false, false],
  );
});

test("timeout() refuses what is no duration", () => {
  assert.throws(() => systemClock.timeout(NaN), RangeError);
  assert.throws(() => systemClock.timeout(-1), RangeError);
});
