import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connectionPair } from "@alknet/core/testing";
import { inTurns } from "./in-turns.ts";
import type { TunnelStream } from "./open-flow.ts";

/** Dials that the test answers, one by one. */
function answered() {
  const pending: PromiseWithResolvers<TunnelStream>[] = [];
  const dial = inTurns(() => {
    const one = Promise.withResolvers<TunnelStream>();
    pending.push(one);
    return one.promise;
  });
  return { dial, pending };
}

test("inTurns() dials 8 at a time at first, and 128 while a stream stands", async () => {
  await using pair = connectionPair();
  const { dial, pending } = answered();
  const dials = Array.from({ length: 300 }, () => dial({}));
  for (const each of dials) each.catch(() => {});
  await new Promise(setImmediate);
  assert.equal(pending.length, 8);
  const stream = await pair.client.open();
  pending[0]!.resolve({ stream, connection: pair.client, multiplexed: true });
  await dials[0];
  await new Promise(setImmediate);
  assert.equal(pending.length, 1 + 128);
  const closed = once(stream, "close");
  stream.destroy();
  await closed;
  // Nobody new until fewer than 8 are under way.
  for (const one of pending.slice(1, -8)) one.reject(new Error("no"));
  await new Promise(setImmediate);
  assert.equal(pending.length, 1 + 128);
  pending.at(-1)!.reject(new Error("no"));
  await new Promise(setImmediate);
  assert.equal(pending.length, 1 + 128 + 1);
});

test("inTurns() passes over who gave up while waiting", async () => {
  const { dial, pending } = answered();
  const given = new AbortController();
  const first = Array.from({ length: 8 }, () => dial({}));
  for (const each of first) each.catch(() => {});
  const waits = dial({ signal: given.signal });
  const last = dial({});
  last.catch(() => {});
  await new Promise(setImmediate);
  const reason = new Error("given up");
  given.abort(reason);
  pending[0]!.reject(new Error("no"));
  await assert.rejects(waits, reason);
  await new Promise(setImmediate);
  assert.equal(pending.length, 9);
});
