import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { connectionPair } from "@alknet/core/testing";
import { callSession } from "./call-session.ts";
import { stream } from "./output-stream.ts";

async function* endless(): AsyncGenerator<string> {
  for (;;) yield "x".repeat(500);
}

test("a producer that never waits gives others their turn, where less may wait than a transport takes", async () => {
  const pair = connectionPair({ alpn: "alknet/call", multiplexed: false });
  await using server = callSession(pair.server, {
    limits: { outgoingBytes: 1_000 },
    dispatch: () => stream(endless()),
  });
  await using client = callSession(pair.client);
  const items = client.subscribe("endless", {}, { window: 1_000 });
  let read = 0;
  for await (const item of items) {
    assert.equal(item, "x".repeat(500));
    if (++read === 5_000) break;
  }
  await setImmediate();
  assert.equal(server.stats().incoming, 0);
});

test("a producer and a reader that never wait leave the event loop to others", async () => {
  const pair = connectionPair({ alpn: "alknet/call", multiplexed: false });
  await using _server = callSession(pair.server, { dispatch: () => stream(endless()) });
  await using client = callSession(pair.client);
  const items = client.subscribe("endless", {}, { window: 2 ** 20 });
  let turns = 0;
  let isOver = false;
  const others = (async () => {
    while (!isOver) {
      await setImmediate();
      turns++;
    }
  })();
  let read = 0;
  for await (const _ of items) if (++read === 20_000) break;
  isOver = true;
  await others;
  assert.ok(turns >= 20, `${turns} turns of the event loop while ${read} items came`);
});
