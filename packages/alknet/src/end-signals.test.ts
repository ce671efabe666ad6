import assert from "node:assert/strict";
import { test } from "node:test";
import { endSignals } from "./end-signals.ts";

test("a signal that is passed on by several counts once; the next one, and another one, end it now", () => {
  for (const signal of ["SIGINT", "SIGTERM"]) {
    let now = 1_000;
    const take = endSignals(() => now);
    assert.equal(take(signal), "finish");
    for (now of [1_000, 1_001, 1_199]) assert.equal(take(signal), "same");
    for (now of [1_200, 60_000]) assert.equal(take(signal), "now");
  }
  const take = endSignals(() => 0);
  assert.deepEqual([take("SIGTERM"), take("SIGINT")], ["finish", "now"]);
});
