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
