import assert from "node:assert/strict";
import { test } from "node:test";
import { EventLog, MAX_KEPT } from "./event-log.ts";

test("an EventLog keeps the newest entries, and counts all", () => {
  const log = new EventLog<{ n: number }>();
  for (let n = 1; n <= MAX_KEPT + 76; n++) log.add({ n });
  assert.equal(log.entries.length, MAX_KEPT);
  assert.deepEqual(log.entries[0], { n: 77 });
  assert.equal(log.count, MAX_KEPT + 76);
});

test("an EventLog tells what came after a number, under its own", () => {
  const log = new EventLog<{ n: number }>();
  assert.deepEqual(log.after(0), []);
  for (const n of [1, 2, 3]) log.add({ n });
  const all = [1, 2, 3].map((n) => [n, { n }]);
  assert.deepEqual(log.after(0), all);
  assert.deepEqual(log.after(2), all.slice(2));
  assert.deepEqual(log.after(3), []);
  assert.deepEqual(log.after(99), []);
  for (let n = 4; n <= MAX_KEPT + 3; n++) log.add({ n });
  // The first three are gone: whoever is behind them misses those, and nothing else.
  assert.deepEqual(log.after(1)[0], [4, { n: 4 }]);
  assert.deepEqual(log.after(10)[0], [11, { n: 11 }]);
  assert.equal(log.after(0).length, MAX_KEPT);
});

test("an EventLog tells its listeners of what is added, until they stop", () => {
  const log = new EventLog<{ n: number }>();
  let heard = 0;
  const listener = (): number => heard++;
  const stops = [log.onadd(listener), log.onadd(listener)];
  log.add({ n: 1 });
  assert.equal(heard, 2);
  stops[0]!();
  log.add({ n: 2 });
  assert.equal(heard, 3);
  stops[1]!();
  log.add({ n: 3 });
  assert.equal(heard, 3);
});
