import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { watchNetwork } from "./network-watch.ts";

test("watchNetwork() tells a change within a second, while somebody holds it", () => {
  const clock = new FakeClock();
  let addresses = "a";
  let changes = 0;
  const watch = watchNetwork(
    clock,
    () => changes++,
    () => addresses,
  );
  assert.equal(clock.pending, 0, "nobody wants to know, and nothing runs");
  const release = watch.hold();
  const another = watch.hold();
  clock.advance(1_000);
  assert.equal(changes, 0);
  addresses = "b";
  clock.advance(1_000);
  assert.equal(changes, 1);
  release();
  release();
  addresses = "c";
  clock.advance(1_000);
  assert.equal(changes, 2, "another holds it still");
  another();
  clock.advance(1_000);
  assert.equal(clock.pending, 0);
  addresses = "d";
  watch.hold();
  clock.advance(1_000);
  assert.equal(changes, 2, "what changed meanwhile concerns nobody");
  watch.close();
  addresses = "e";
  clock.advance(2_000);
  assert.equal(changes, 2);
  assert.equal(clock.pending, 0);
});

test("watchNetwork() reads this machine's addresses", () => {
  const clock = new FakeClock();
  const watch = watchNetwork(clock, () => assert.fail("nothing has changed"));
  watch.hold();
  clock.advance(1_000);
  watch.close();
});
