import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { MIN_WINDOW, receiveWindows } from "./receive-window.ts";

const MiB = 2 ** 20;

test("a window is given again once half of it has been read", () => {
  const window = receiveWindows().open(0);
  assert.ok(window.received(MiB));
  assert.equal(window.grant(1, 1_000, 1), 0);
  assert.equal(window.grant(0, 1_000, 1), MiB);
  assert.equal(window.size, 2 * MiB);
});

test("a window that is used up within two round trips is doubled, up to its limit", () => {
  const window = receiveWindows().open(0);
  const sizes: number[] = [];
  for (let at = 100; at <= 500; at += 100) {
    assert.ok(window.received(window.size));
    window.grant(0, at, 100);
    sizes.push(window.size / MiB);
  }
  assert.deepEqual(sizes, [4, 8, 16, 16, 16]);
});

test("a window does not grow while the round trip is not known, or on a short one", () => {
  const window = receiveWindows().open(0);
  for (const [at, roundTrip] of [
    [10, undefined],
    [20, 5],
    [30, 5],
  ] as const) {
    assert.ok(window.received(2 * MiB));
    assert.equal(window.grant(0, at, roundTrip), 2 * MiB);
  }
});

test("a window does not grow beyond what a gigabyte a second needs, however fast it is used up", () => {
  for (const [roundTrip, most] of [
    [0.75, 2],
    [1.5, 4],
    [5, 16],
  ] as const) {
    const window = receiveWindows().open(0);
    for (let at = 0; at < 6; at++) {
      assert.ok(window.received(window.size));
      window.grant(0, at / 10, roundTrip);
    }
    assert.equal(window.size, most * MiB);
  }
});

test("little is under way on a short line while somebody types, and a whole window again when nobody does", () => {
  const windows = receiveWindows();
  const window = windows.open(0);
  const typing = windows.typing();
  assert.ok(window.received(1.5 * MiB));
  assert.equal(window.grant(0, 1, 4), 0);
  for (let at = 2; at < 8; at++) {
    assert.ok(window.received(MiB / 2));
    assert.equal(window.grant(MiB / 4 + 1, at, 4), 0);
    assert.equal(window.grant(0, at, 4), MiB / 2);
  }
  assert.equal(window.size, 2 * MiB);
  typing[Symbol.dispose]();
  assert.equal(window.grant(0, 1_000, 4), 1.5 * MiB);
});

test("a long line, or one that is not known, has its window while somebody types", () => {
  const windows = receiveWindows();
  using _typing = windows.typing();
  const window = windows.open(0);
  assert.ok(window.received(2 * MiB));
  assert.equal(window.grant(0, 100, undefined), 2 * MiB);
  assert.ok(window.received(2 * MiB));
  assert.equal(window.grant(0, 105, 5), 4 * MiB);
});

test("received() tells of a peer that sends more than it may", () => {
  const window = receiveWindows().open(0);
  assert.ok(window.received(2 * MiB));
  assert.ok(!window.received(1));
});

test("windows never hold more than their connection may, but for the least that a channel needs", () => {
  const limits = { initial: 2 * MiB, channel: 16 * MiB, connection: 8 * MiB };
  const step = fc.record({
    kind: fc.constantFrom("open", "use", "release"),
    at: fc.nat({ max: 20 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const all = receiveWindows(limits);
      const open: ReturnType<typeof all.open>[] = [];
      let now = 0;
      for (const { kind, at } of steps) {
        const window = open[at];
        if (kind === "open") open.push(all.open(now));
        else if (kind === "use" && window !== undefined) {
          window.received(window.size);
          window.grant(0, (now += 1), 100);
          assert.ok(window.size <= limits.channel);
        } else if (kind === "release" && window !== undefined) {
          window.release();
          window.release();
          open.splice(at, 1);
        }
        assert.equal(
          all.held,
          open.reduce((sum, each) => sum + each.size, 0),
        );
        assert.ok(all.held <= limits.connection + open.length * MIN_WINDOW);
      }
    }),
  );
});
