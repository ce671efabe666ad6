import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { CallDeadlines, type Deadline } from "./call-deadlines.ts";

class Entry implements Deadline {
  readonly key: number;
  heapIndex = -1;

  constructor(key: number) {
    this.key = key;
  }
}

function started(): { clock: FakeClock; deadlines: CallDeadlines<Entry>; expired: number[] } {
  const clock = new FakeClock();
  const expired: number[] = [];
  const deadlines = new CallDeadlines<Entry>(clock, ({ key }) => expired.push(key));
  return { clock, deadlines, expired };
}

test("CallDeadlines expires each entry at its time, in their order, and not before", () => {
  const { clock, deadlines, expired } = started();
  for (const key of [300, 100.5, 200]) deadlines.add(new Entry(key));
  clock.advance(100);
  assert.deepEqual(expired, []);
  clock.advance(1);
  assert.deepEqual(expired, [100.5]);
  clock.advance(1_000);
  assert.deepEqual(expired, [100.5, 200, 300]);
  assert.equal(deadlines.size, 0);
  assert.equal(clock.pending, 0);
});

test("CallDeadlines forgets what was removed, and never expires what is due at Infinity", () => {
  const { clock, deadlines, expired } = started();
  const [removed, kept] = [new Entry(100), new Entry(200)];
  deadlines.add(removed);
  deadlines.add(kept);
  deadlines.add(new Entry(Infinity));
  deadlines.remove(removed);
  deadlines.remove(removed);
  assert.equal(deadlines.size, 1);
  clock.advance(1_000);
  assert.deepEqual(expired, [200]);
});

test("CallDeadlines sets a bounded number of timers, whatever deadlines it is given", () => {
  const { clock, deadlines, expired } = started();
  for (let key = 10_000; key > 0; key--) deadlines.add(new Entry(key));
  assert.equal(clock.pending, 32);
  clock.advance(10_000);
  assert.equal(expired.length, 10_000);
  assert.deepEqual(
    expired,
    expired.toSorted((a, b) => a - b),
  );
});

test("CallDeadlines sets one timer for many of the same length", () => {
  const { clock, deadlines } = started();
  for (let i = 0; i < 1_000; i++) {
    const entry = new Entry(clock.now() + 30_000);
    deadlines.add(entry);
    deadlines.remove(entry);
    clock.advance(1);
  }
  assert.equal(clock.pending, 1);
});

test("CallDeadlines waits longer than a timer can", () => {
  const { clock, deadlines, expired } = started();
  deadlines.add(new Entry(2 ** 40));
  clock.advance(2 ** 40 - 1);
  assert.deepEqual(expired, []);
  clock.advance(1);
  assert.deepEqual(expired, [2 ** 40]);
});

test("CallDeadlines expires nothing once it is closed", () => {
  const { clock, deadlines, expired } = started();
  deadlines.add(new Entry(1));
  deadlines.close();
  clock.advance(1);
  assert.deepEqual(expired, []);
});
