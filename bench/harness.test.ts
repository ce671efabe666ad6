import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, median, resultLine, takeTurns } from "./harness.ts";

const quiet = { say: () => {}, budget: Number.POSITIVE_INFINITY };

test("takeTurns() lets everyone run once a round, every other round in reverse", async () => {
  const order: string[] = [];
  const run = (name: string) => async (): Promise<number> => {
    order.push(name);
    return order.length;
  };
  const samples = await takeTurns(2, { ours: run("ours"), peer: run("peer") }, quiet);
  assert.deepEqual(order, ["ours", "peer", "peer", "ours"]);
  assert.deepEqual(samples, { ours: [1, 4], peer: [2, 3] });
});

test("takeTurns() ends early when its budget is used up, but not before the first round", async () => {
  const samples = await takeTurns(5, { ours: async () => 1 }, { ...quiet, budget: 0 });
  assert.deepEqual(samples.ours, [1]);
});

test("median() takes the middle, or the mean of the two there", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.throws(() => median([]), RangeError);
});

test("compare() gives a ratio above 1 when we are better, whichever way better is", () => {
  const options = { peerName: "them", unit: "x" };
  assert.equal(compare("up", [4, 6, 5], [2, 2, 2], options).ratio, 2.5);
  assert.equal(compare("down", [2], [3], { ...options, better: "lower" }).ratio, 1.5);
});

test("resultLine() begins with the fields that every reader of it knows", () => {
  const main = compare("a", [4], [2], { peerName: "them", unit: "x/s", goal: 1.5 });
  assert.equal(
    resultLine({ main, facts: { lost: 0 } }),
    '{"name":"a","ours":4,"peer":2,"peer_name":"them","unit":"x/s","ratio":2,"runs":1,"goal":1.5,"facts":{"lost":0}}',
  );
});
