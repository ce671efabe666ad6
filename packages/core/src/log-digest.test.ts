import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { logDigest } from "./log-digest.ts";

function begin(each: number) {
  const clock = new FakeClock();
  const lines: string[] = [];
  let quiet = 0;
  const digest = logDigest<string>({
    each,
    one: (event) => void lines.push(event),
    more: (count, last, mixed) => void lines.push(`${count} more like ${mixed ? "any" : last}`),
    quiet: () => quiet++,
    clock,
  });
  /** The lines since the last call. */
  const said = (): string[] => lines.splice(0);
  return { digest, clock, said, quiet: () => quiet };
}

test("logDigest() gives the first of a kind a line each, and the rest of the minute one", () => {
  const { digest, clock, said, quiet } = begin(2);
  for (let i = 0; i < 5; i++) digest.add("a", `a${i}`);
  digest.add("b", "b0");
  assert.deepEqual(said(), ["a0", "a1", "b0"]);
  assert.equal(quiet(), 3);
  clock.advance(59_999);
  assert.deepEqual(said(), []);
  clock.advance(1);
  assert.deepEqual(said(), ["3 more like a4"]);
});

test("logDigest() has one line a minute for what goes on, and begins anew after a quiet minute", () => {
  const { digest, clock, said } = begin(1);
  for (let minute = 0; minute < 3; minute++) {
    for (let i = 0; i < 100; i++) digest.add("a", `a${i}`);
    clock.advance(60_000);
  }
  assert.deepEqual(said(), ["a0", "99 more like a99", "100 more like a99", "100 more like a99"]);
  clock.advance(60_000);
  digest.add("a", "again");
  assert.deepEqual(said(), ["again"]);
  assert.equal(clock.pending, 1);
  clock.advance(60_000);
  assert.deepEqual(said(), [], "one by itself has been told");
  assert.equal(clock.pending, 0, "nothing is left behind");
});

test("logDigest() tells 64 kinds apart, and counts the others together", () => {
  const { digest, clock, said } = begin(1);
  for (let i = 0; i < 5_000; i++) digest.add(`${i}`, `${i}`);
  assert.equal(said().length, 64);
  digest.add("0", "0 again");
  clock.advance(60_000);
  assert.deepEqual(said(), ["1 more like 0 again", "4936 more like any"]);
});

test("flush() says what was kept back, once", () => {
  const { digest, clock, said } = begin(1);
  digest.add("a", "a0");
  digest.add("a", "a1");
  said();
  digest.flush();
  assert.deepEqual(said(), ["1 more like a1"]);
  clock.advance(60_000);
  assert.deepEqual(said(), []);
});
