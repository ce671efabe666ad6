import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { test } from "node:test";
import { type Clock, systemClock } from "./clock.ts";
import { FakeClock } from "./fake-clock.ts";
import { ping, pingHandler, type Pong } from "./ping.ts";
import { connectionPair } from "./testing.ts";

async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

for (const multiplexed of [true, false]) {
  test(`ping() asks as often as it is told, at its interval (multiplexed: ${multiplexed})`, async () => {
    const clock = new FakeClock();
    await using pair = connectionPair({ multiplexed, clock });
    const serving = pingHandler({ clock }).handle(pair.server);
    const pongs: Pong[] = [];
    const pinging = (async () => {
      for await (const pong of ping(pair.client, { count: 3, clock })) pongs.push(pong);
    })();
    for (let expected = 1; expected <= 3; expected++) {
      await settle();
      assert.equal(pongs.length, expected);
      clock.advance(999);
      await settle();
      assert.equal(pongs.length, expected);
      clock.advance(1);
    }
    await pinging;
    assert.deepEqual(pongs, [
      { number: 0, rtt: 0 },
      { number: 1, rtt: 0 },
      { number: 2, rtt: 0 },
    ]);
    await pair.client.close();
    await serving;
  });
}

test("ping() gives up on an answer that does not come", async () => {
  const clock = new FakeClock();
  await using pair = connectionPair({ clock });
  const pinging = assert.rejects(ping(pair.client, { clock, timeout: 3_000 }).next(), {
    code: "PING_TIMEOUT",
    message: "ping failed: no answer within 3000 ms",
  });
  await settle();
  clock.advance(3_000);
  await pinging;
});

test("ping() does not take anything for an answer", async () => {
  for (const reply of ["12345678", "123456789"]) {
    await using pair = connectionPair();
    const pinging = assert.rejects(ping(pair.client).next(), { code: "PROTOCOL" });
    const stream = await pair.server.accept();
    stream?.write(reply);
    await pinging;
  }
  await using pair = connectionPair();
  const pinging = assert.rejects(ping(pair.client).next(), { code: "PROTOCOL" });
  const stream = await pair.server.accept();
  stream?.end("1234");
  await pinging;
});

test("ping() says why its connection ended, and heeds its signal", async () => {
  await using pair = connectionPair();
  const pinging = assert.rejects(ping(pair.client).next(), { code: "UNAVAILABLE" });
  await pair.server.accept();
  pair.server.refuse(2);
  await pinging;

  await using other = connectionPair();
  const stop = new AbortController();
  const reason = new Error("enough");
  const stopped = assert.rejects(ping(other.client, { signal: stop.signal }).next(), reason);
  await other.server.accept();
  stop.abort(reason);
  await stopped;
  await assert.rejects(ping(other.client, { count: 0 }).next(), RangeError);
});

test("pingHandler() ends a stream that asks for too much, or for nothing", async () => {
  const clock = new FakeClock();
  await using pair = connectionPair({ clock });
  const serving = pingHandler({ clock }).handle(pair.server);
  const greedy = await pair.client.open();
  greedy.resume();
  greedy.on("error", () => {});
  const chunk = Buffer.alloc(65_536);
  while (!greedy.destroyed) {
    if (!greedy.write(chunk)) await settle();
  }
  assert.equal((greedy.errored as { resetCode?: number } | null)?.resetCode, 4);

  const silent = await pair.client.open();
  silent.write("12345678");
  await once(silent, "readable");
  silent.resume();
  const failed = new Promise((resolve) => silent.once("close", resolve));
  clock.advance(60_000);
  await settle();
  assert.equal(silent.destroyed, false, "it had asked in that minute");
  clock.advance(60_000);
  await failed;
  assert.equal((silent.errored as { resetCode?: number } | null)?.resetCode, 7);

  // Draining ends streams in order.
  const last = await pair.client.open();
  last.write("12345678");
  await once(last, "readable");
  pair.server.drain();
  last.resume();
  await once(last, "end");
  last.end();
  await serving;
});

test("pingHandler() lets go of a stream with its end, not with the end of its time", async () => {
  const waits: AbortSignal[] = [];
  const clock: Clock = {
    ...systemClock,
    timeout(milliseconds) {
      const signal = systemClock.timeout(milliseconds);
      waits.push(signal);
      return signal;
    },
  };
  await using pair = connectionPair();
  const serving = pingHandler({ clock }).handle(pair.server);
  for await (const { number } of ping(pair.client, { count: 1 })) assert.equal(number, 0);
  await pair.client.close();
  await serving;
  await settle();
  assert.equal(waits.length, 1);
  for (const signal of waits) assert.deepEqual(getEventListeners(signal, "abort"), []);
});
