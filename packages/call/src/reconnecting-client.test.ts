import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { z } from "zod";
import { type CallPair, callPair } from "./test-fixture.ts";
import { client } from "./client.ts";
import { type AnyOperation, operation } from "./operation.ts";
import { withEventId } from "./output-stream.ts";
import { type ReconnectingClient, reconnectingClient } from "./reconnecting-client.ts";

const none = z.object({});

/** A node that can be lost: each dial is a new connection to it. */
function losable(operations: readonly AnyOperation[], clock: FakeClock, multiplexed = true) {
  const pairs: CallPair[] = [];
  return {
    dials: 0,
    /** What the next dial fails with. */
    refuse: undefined as Error | undefined,
    async dial() {
      this.dials += 1;
      if (this.refuse !== undefined) throw this.refuse;
      const pair = callPair({ operations, clock, multiplexed });
      pairs.push(pair);
      return pair.client;
    },
    /** Cut the connection in use. */
    lose(): void {
      pairs.at(-1)?.server.connection.abort(6);
    },
    async [Symbol.asyncDispose]() {
      for (const pair of pairs) await pair[Symbol.asyncDispose]();
    },
  };
}

/** Let everything run that needs no time, until the client has asked for its pause number `count`. */
async function paused(delays: readonly number[], count: number): Promise<void> {
  while (delays.length < count) await new Promise(setImmediate);
}

function reconnecting(
  node: ReturnType<typeof losable>,
  clock: FakeClock,
  delays: number[] = [],
  reasons: unknown[] = [],
): ReconnectingClient {
  return reconnectingClient({
    dial: () => node.dial(),
    clock,
    random: () => 1,
    onlost(reason, delay) {
      reasons.push(reason);
      delays.push(delay);
    },
  });
}

/** Never answers, and tells when it has begun. */
function silent(type: "query" | "mutation") {
  const begun = Promise.withResolvers<void>();
  const made = operation({
    name: "a/silent",
    type,
    input: none,
    output: z.null(),
    handler() {
      begun.resolve();
      return new Promise<null>(() => {});
    },
  });
  return { operation: made, begun: begun.promise };
}

/** One, and whatever it was asked to go on from: never ends by itself. */
function endless(): AnyOperation {
  return operation({
    name: "a/endless",
    type: "subscription",
    input: none,
    output: z.number(),
    resumable: true,
    async *handler(_, { lastEventId, signal }) {
      yield withEventId("1", Number(lastEventId ?? 0) + 1);
      await new Promise((_done, fail) => signal.addEventListener("abort", fail));
    },
  });
}

/** Answers how often it was called. */
function counter(): AnyOperation {
  let calls = 0;
  return operation({
    name: "a/count",
    type: "query",
    input: none,
    output: z.number(),
    handler: () => ++calls,
  });
}

test("pauses grow from 1 s to 60 s, and begin anew after a connection that was good", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using node = losable([counter()], clock);
  node.refuse = new Error("nobody there");
  await using reconnect = reconnecting(node, clock, delays);
  for (let tries = 1; tries < 8; tries += 1) {
    await paused(delays, tries);
    clock.advance(delays.at(-1)!);
  }
  await paused(delays, 8);
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  node.refuse = undefined;
  clock.advance(60_000);
  await reconnect.connected();
  clock.advance(10_000);
  node.lose();
  await paused(delays, 9);
  assert.equal(delays.at(-1), 1_000);
});

test("a dial that takes long to fail is no connection that was good", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using _ = reconnectingClient({
    async dial() {
      clock.advance(15_000);
      throw new Error("nobody there");
    },
    clock,
    random: () => 1,
    onlost: (_reason, delay) => delays.push(delay),
  });
  for (let tries = 1; tries < 4; tries += 1) {
    await paused(delays, tries);
    clock.advance(delays.at(-1)!);
  }
  await paused(delays, 4);
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000]);
});

test("a call waits for its connection, within its own deadline", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using node = losable([counter()], clock);
  node.refuse = new Error("nobody there");
  await using reconnect = reconnecting(node, clock, delays);
  await paused(delays, 1);
  const late = reconnect.call("a/count", {}, { timeout: 500 });
  const call = reconnect.call("a/count", {});
  const cancelled = new AbortController();
  const signalled = reconnect.call("a/count", {}, { signal: cancelled.signal });
  cancelled.abort(new Error("enough"));
  await assert.rejects(signalled, { message: "enough" });
  node.refuse = undefined;
  clock.advance(500);
  await assert.rejects(late, { code: "TIMEOUT", retryable: true });
  clock.advance(500);
  assert.equal(await call, 1);
});

test("a query that was under way is repeated, a mutation fails: nobody knows whether it was carried out", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  const begun = [0, 0];
  let reached = Promise.withResolvers<void>();
  const forever = (type: "query" | "mutation", at: 0 | 1) =>
    operation({
      name: `a/${type}`,
      type,
      input: none,
      output: z.string(),
      handler() {
        begun[at]! += 1;
        reached.resolve();
        return begun[at] === 1 ? new Promise<string>(() => {}) : "answered";
      },
    });
  await using node = losable([forever("query", 0), forever("mutation", 1)], clock);
  await using reconnect = reconnecting(node, clock, delays);

  const query = reconnect.call("a/query", {});
  await reached.promise;
  reached = Promise.withResolvers();
  const mutation = reconnect.call("a/mutation", {});
  const failed = assert.rejects(mutation, { code: "INTERNAL", message: "connection closed" });
  await reached.promise;
  node.lose();
  await paused(delays, 1);
  clock.advance(1_000);
  assert.equal(await query, "answered");
  await failed;
  assert.deepEqual(begun, [2, 1]);
});

test("a subscription that can be resumed goes on behind the last item, another one ends", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  const since: (string | undefined)[] = [];
  const items = (name: string, resumable: boolean) =>
    operation({
      name,
      type: "subscription",
      input: none,
      output: z.number(),
      resumable,
      async *handler(_, { lastEventId, signal }) {
        since.push(lastEventId);
        for (let at = Number(lastEventId ?? 0) + 1; at <= 4; at += 1) {
          yield withEventId(String(at), at);
          // The first connection gives two.
          if (at === 2 && lastEventId === undefined)
            await new Promise((_, no) => signal.addEventListener("abort", no));
        }
      },
    });
  const operations = [items("a/log", true), items("a/live", false)] as const;
  await using node = losable(operations, clock);
  await using reconnect = reconnecting(node, clock, delays);
  const { a } = client<typeof operations>(reconnect) as unknown as {
    a: Record<"log" | "live", () => AsyncIterableIterator<number>>;
  };
  const log = a.log();
  const live = a.live();
  for (const subscription of [log, live]) {
    assert.equal((await subscription.next()).value, 1);
    assert.equal((await subscription.next()).value, 2);
  }
  const lost = assert.rejects(Array.fromAsync(live), { message: "connection closed" });
  const rest = Array.fromAsync(log);
  node.lose();
  await paused(delays, 1);
  clock.advance(1_000);
  assert.deepEqual(await rest, [3, 4]);
  await lost;
  assert.deepEqual(since, [undefined, undefined, "2"]);
});

test("close() ends everything that waits, and dials no more", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using node = losable([], clock);
  node.refuse = new Error("nobody there");
  const reconnect = reconnecting(node, clock, delays);
  await paused(delays, 1);
  const call = assert.rejects(reconnect.call("a/count", {}), { message: "the client is closed" });
  const read = assert.rejects(reconnect.subscribe("a/log", {}).next(), {
    message: "the client is closed",
  });
  await reconnect.close();
  await Promise.all([call, read, reconnect.close()]);
  clock.advance(120_000);
  assert.equal(node.dials, 1);
});

test("retry() decides when there is no use in trying again", async () => {
  const refused = new Error("peer key mismatch");
  await using reconnect = reconnectingClient({
    dial: () => Promise.reject(refused),
    retry: (reason) => reason !== refused,
    clock: new FakeClock(),
  });
  await assert.rejects(reconnect.call("a/count", {}), refused);
  await assert.rejects(reconnect.connected(), refused);
});

test("the time of a call is one: that of waiting, of calling, and of finding out whether to repeat it", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  const query = silent("query");
  await using node = losable([query.operation], clock);
  node.refuse = new Error("nobody there");
  await using reconnect = reconnecting(node, clock, delays);
  await paused(delays, 1);
  const waited = assert.rejects(reconnect.call("a/silent", {}, { timeout: 1_500 }), {
    code: "TIMEOUT",
  });
  node.refuse = undefined;
  clock.advance(1_000);
  await query.begun;
  clock.advance(500);
  await waited;

  const under = reconnect.call("a/silent", {}, { timeout: 700 });
  const cancelled = new AbortController();
  const signalled = reconnect.call("a/silent", {}, { signal: cancelled.signal });
  const both = [
    assert.rejects(under, { code: "INTERNAL", message: "connection closed" }),
    assert.rejects(signalled, { message: "enough" }),
  ];
  node.refuse = new Error("nobody there");
  node.lose();
  await paused(delays, 2);
  cancelled.abort(new Error("enough"));
  clock.advance(700);
  await Promise.all(both);
});

test("a connection that answers no more is given up before it has ended", async () => {
  const clock = new FakeClock();
  for (const type of ["query", "mutation"] as const) {
    const delays: number[] = [];
    const call = silent(type);
    await using node = losable([call.operation, counter()], clock, false);
    const reasons: unknown[] = [];
    await using reconnect = reconnecting(node, clock, delays, reasons);
    const begun = reconnect.call("a/silent", {}, { timeout: 60_000 });
    const failed = assert.rejects(begun, { code: type === "query" ? "TIMEOUT" : "INTERNAL" });
    await call.begun;
    const lost = reconnect.session;
    // Its own calls have failed by then, and the connection goes on until it is closed in order.
    const closed = lost!.close();
    const next = reconnect.call("a/count", {});
    await paused(delays, 1);
    clock.advance(1_000);
    assert.equal(await next, 1);
    assert.notEqual(reconnect.session, lost);
    await closed;
    assert.equal((reasons[0] as Error).message, "connection closed");
    while (reconnect.session!.stats().outgoing === 0 && type === "query")
      await new Promise(setImmediate);
    clock.advance(60_000);
    await failed;
  }
});

test("a subscription that can be resumed outlasts any time without a connection", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using node = losable([endless()], clock);
  await using reconnect = reconnecting(node, clock, delays);
  const items = reconnect.subscribe("a/endless", {});
  assert.equal((await items.next()).value, 1);
  const next = items.next();
  node.refuse = new Error("nobody there");
  node.lose();
  for (let tries = 1; tries < 9; tries += 1) {
    await paused(delays, tries);
    clock.advance(delays.at(-1)!);
  }
  await paused(delays, 9);
  node.refuse = undefined;
  clock.advance(60_000);
  assert.equal((await next).value, 2);
  await items.return();
});

test("a subscription is left at once while there is no connection, and begins on none", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using node = losable([endless(), counter()], clock);
  await using reconnect = reconnecting(node, clock, delays);
  const old = reconnect.subscribe("a/endless", {});
  await old.next();
  const ahead = old.next();
  node.refuse = new Error("nobody there");
  node.lose();
  await paused(delays, 1);
  const fresh = reconnect.subscribe("a/endless", {});
  const first = fresh.next();
  await Promise.all([old.return(), fresh.return()]);
  assert.deepEqual(await ahead, { done: true, value: undefined });
  assert.deepEqual(await first, { done: true, value: undefined });
  node.refuse = undefined;
  clock.advance(1_000);
  await reconnect.call("a/count", {});
  assert.equal(reconnect.session?.stats().outgoing, 0);
});

test("the time of a subscription is one, however often it is resumed", async () => {
  const clock = new FakeClock();
  const delays: number[] = [];
  await using node = losable([endless()], clock);
  await using reconnect = reconnecting(node, clock, delays);
  const items = reconnect.subscribe("a/endless", {}, { timeout: 5_000 });
  await items.next();
  const next = items.next();
  clock.advance(3_000);
  node.lose();
  await paused(delays, 1);
  clock.advance(1_000);
  assert.equal((await next).value, 2);
  const late = assert.rejects(items.next(), { code: "TIMEOUT" });
  clock.advance(1_000);
  await late;
});
