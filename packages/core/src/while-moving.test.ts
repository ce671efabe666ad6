import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { expired, whileMoving } from "./while-moving.ts";

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test("whileMoving() waits as long as something moves in each period, and no longer", async () => {
  const clock = new FakeClock();
  let moved = 0;
  let answer: boolean | undefined;
  const waiting = whileMoving(new Promise(() => {}), () => moved, 1_000, clock);
  void waiting.then((done) => (answer = done));
  for (let period = 0; period < 10; period++) {
    moved += 1;
    clock.advance(1_000);
    await settle();
    assert.equal(answer, undefined);
  }
  clock.advance(1_000);
  assert.equal(await waiting, false);
});

test("whileMoving() is over with what it waits for", async () => {
  const clock = new FakeClock();
  const { promise, resolve } = Promise.withResolvers<void>();
  const waiting = whileMoving(promise, () => 0, 1_000, clock);
  resolve();
  assert.equal(await waiting, true);
});

test("whileMoving() is not held for ever by who moves a little", async () => {
  const clock = new FakeClock();
  let moved = 0;
  const waiting = whileMoving(new Promise(() => {}), () => moved++, 1_000, clock);
  for (let period = 0; period < 64; period++) {
    clock.advance(1_000);
    await settle();
  }
  assert.equal(await waiting, false);
});

test("expired() resolves for a signal that is aborted, now or already", async () => {
  const abort = new AbortController();
  const waiting = expired(abort.signal);
  abort.abort();
  assert.equal(await waiting, false);
  assert.equal(await expired(abort.signal), false);
});
