import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { connectionPair, FakeClock } from "@alknet/core/testing";
import { echo } from "./echo.ts";

for (const multiplexed of [true, false]) {
  const way = multiplexed ? "many streams" : "one stream";
  test(`echo() sends back what it was sent, on a connection of ${way}`, async () => {
    await using pair = connectionPair({ multiplexed });
    const served = echo().handle(pair.server);
    const stream = await pair.client.open();
    stream.end("hello");
    assert.equal(await text(stream), "hello");
    await pair.client.close();
    await served;
  });
}

test("echo() lets go of a peer that is idle", async () => {
  await using pair = connectionPair();
  const clock = new FakeClock();
  const served = echo({ idle: 5_000, clock }).handle(pair.server);
  clock.advance(5_000);
  await assert.rejects(served, { name: "TimeoutError" });
});

test("echo() refuses a time that is none", () => {
  assert.throws(() => echo({ idle: 0 }), RangeError);
});
