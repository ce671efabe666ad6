import assert from "node:assert/strict";
import { test } from "node:test";
import { EventLog } from "./event-log.ts";

test("EventLog keeps the newest 1,024", () => {
  const log = new EventLog<{ number: number }>();
  for (let number = 0; number < 2_000; number++) log.add({ number });
  assert.equal(log.entries.length, 1_024);
  assert.deepEqual(log.entries.at(-1), { number: 1_999 });
});

test("who follows hears of what is added from then on, until it has enough", async () => {
  const log = new EventLog<{ number: number }>();
  log.add({ number: 0 });
  const stop = new AbortController();
  const seen: number[] = [];
  const following = (async () => {
    for await (const { number } of log.follow(stop.signal)) {
      seen.push(number);
      if (number === 3) stop.abort();
    }
  })();
  await Promise.resolve();
  for (let number = 1; number <= 3; number++) log.add({ number });
  await following;
  assert.deepEqual(seen, [1, 2, 3]);
});

test("who follows slowly misses the oldest, and holds no more than the newest", async () => {
  const log = new EventLog<{ number: number }>();
  const stop = new AbortController();
  const following = log.follow(stop.signal);
  const first = following.next();
  for (let number = 0; number < 5_000; number++) log.add({ number });
  const seen = [(await first).value?.number];
  for (;;) {
    const { value } = await following.next();
    seen.push(value?.number);
    if (value?.number === 4_999) break;
  }
  stop.abort();
  assert.ok(seen.length <= 1_025);
  assert.deepEqual(await following.next(), { done: true, value: undefined });
});

test("who waits is let go", async () => {
  const stop = new AbortController();
  const following = new EventLog<object>().follow(stop.signal);
  const next = following.next();
  stop.abort();
  assert.deepEqual(await next, { done: true, value: undefined });
});
