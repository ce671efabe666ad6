import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Cut } from "./access.ts";
import { StoreEffects, sum } from "./store-effects.ts";

const cut = (connections: number, grants: number): Cut => ({ connections, grants });

test("of() waits until the change is seen, and adds up what was ended under its number", async () => {
  const effects = new StoreEffects(() => {});
  assert.deepEqual(await effects.of(0, undefined), cut(0, 0));
  const waiting = effects.of(2, undefined);
  effects.saw(1, cut(7, 7));
  await turn();
  assert.equal(await Promise.race([waiting, turn("waits")]), "waits");
  effects.saw(2, cut(1, 0));
  effects.saw(2, cut(0, 3));
  assert.deepEqual(await waiting, cut(1, 3));
  assert.deepEqual(await effects.of(2, undefined), cut(1, 3));
});

test("of() takes what came together with newer changes for the change's own", async () => {
  const effects = new StoreEffects(() => {});
  effects.saw(5, cut(2, 1));
  effects.saw(6, cut(9, 9));
  assert.deepEqual(await effects.of(3, undefined), cut(2, 1));
});

test("of() gives up at its signal, and when the store is closed", async () => {
  let isClosed = false;
  const effects = new StoreEffects(() => {
    if (isClosed) throw new Error("closed");
  });
  const stop = new AbortController();
  const gaveUp = assert.rejects(effects.of(1, stop.signal), /enough/);
  stop.abort(new Error("enough"));
  await gaveUp;
  const over = assert.rejects(effects.of(1, undefined), /closed/);
  isClosed = true;
  effects.wake();
  await over;
});

test("sum() of no cuts is nothing", () => {
  assert.deepEqual(sum([]), cut(0, 0));
  assert.deepEqual(sum([cut(1, 2), cut(3, 4)]), cut(4, 6));
});
