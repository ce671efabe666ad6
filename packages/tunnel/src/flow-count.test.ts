import assert from "node:assert/strict";
import { test } from "node:test";
import { flowCount } from "./flow-count.ts";

const never = new AbortController().signal;

test("flowCount() bounds the flows of each peer, and takes back what is disposed of once", () => {
  const count = flowCount(() => ({ flowsPerPeer: 2, openingPerPeer: 1 }));
  const first = count.enter("a");
  count.enter("a");
  assert.throws(() => count.enter("a"), { code: "FLOW_REFUSED", refusal: "limit" });
  count.enter("b");
  assert.equal(count.flows, 3);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(count.flows, 2);
  count.enter("a");
  assert.throws(() => count.enter("a"), { refusal: "limit" });
});

test("flowCount() lets those above the bound wait in order; who is given up waits no longer", async () => {
  const count = flowCount(() => ({ flowsPerPeer: 9, openingPerPeer: 1 }));
  const arrived = await count.enter("a").opening(never);
  const order: number[] = [];
  const given = new AbortController();
  const second = count.enter("a").opening(given.signal);
  const third = count.enter("a").opening(never);
  const fourth = count.enter("a").opening(never);
  void third.then(() => order.push(3));
  void fourth.then(() => order.push(4));
  // Another peer waits for nobody.
  await count.enter("b").opening(never);
  given.abort(new Error("gone"));
  await assert.rejects(second, { message: "gone" });
  arrived();
  arrived();
  const next = await third;
  assert.deepEqual(order, [3]);
  next();
  await fourth;
  assert.deepEqual(order, [3, 4]);
  await assert.rejects(count.enter("a").opening(given.signal), { message: "gone" });
});

test("flowCount() lets more go when the limit has been raised", async () => {
  const limits = { flowsPerPeer: 9, openingPerPeer: 1 };
  const count = flowCount(() => limits);
  const arrived = await count.enter("a").opening(never);
  const waiting = [count.enter("a").opening(never), count.enter("a").opening(never)];
  limits.openingPerPeer = 2;
  arrived();
  await Promise.all(waiting);
});
