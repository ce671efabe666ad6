import assert from "node:assert/strict";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { CloseCode } from "@alknet/core/close-code";
import { ConnectionClosed } from "@alknet/core/connection";
import { connectionPair, FakeClock } from "@alknet/core/testing";
import { beginFlow, type DialTunnel, openFlow } from "./open-flow.ts";
import { readAll } from "./testing.ts";
import { decodeRequest, encodeReply } from "./wire/open.ts";

const target = { host: "db", port: 5432 };

/** A peer whose answers the test writes. */
function peer() {
  const pair = connectionPair();
  const streams: Duplex[] = [];
  return {
    pair,
    /** The streams that were opened to it. */
    streams,
    async open() {
      const stream = await pair.client.open();
      streams.push(stream);
      return { stream, connection: pair.client, multiplexed: true };
    },
    /** The next stream, its request, and what has come behind that. */
    async take() {
      const stream = (await pair.server.accept())!;
      stream.on("error", () => {});
      await once(stream, "readable");
      const bytes = stream.read() as Buffer;
      const { value, length } = decodeRequest(bytes)!;
      stream.unshift(bytes.subarray(length));
      return { stream, request: value };
    },
    [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose](),
  };
}

/** Dials these one after the other. */
function dialEach(
  ...peers: readonly ReturnType<typeof peer>[]
): DialTunnel & { dialled: () => number } {
  let at = 0;
  return Object.assign(async () => await peers[at++]!.open(), { dialled: () => at });
}

/** What a stream fails with when its peer was restarted. */
const lost = new ConnectionClosed({ by: "transport", code: undefined, name: "RESET", reason: "" });

test("beginFlow() waits for no answer on a fresh connection: data goes along with the request", async () => {
  await using den = peer();
  const { flow, opened } = await beginFlow(dialEach(den), target);
  flow.end("early");
  const { stream, request } = await den.take();
  assert.deepEqual(request, { kind: "tcp", ...target });
  assert.equal(String(await readAll(stream)), "early");
  stream.end(encodeReply({ kind: "open", body: Buffer.alloc(0) }));
  await opened;
  assert.equal((await readAll(flow)).length, 0);
});

test("beginFlow() waits on a connection that was silent, and asks again on a fresh one if that has died", async () => {
  await using den = peer();
  await using fresh = peer();
  const clock = new FakeClock();
  const first = openFlow(dialEach(den), target, { clock });
  (await den.take()).stream.end(encodeReply({ kind: "open", body: Buffer.alloc(0) }));
  (await first).end();
  clock.advance(1_000);

  const dial = dialEach(den, fresh);
  const beginning = beginFlow(dial, target, { clock });
  await den.take();
  den.streams.at(-1)!.destroy(lost);
  const { flow } = await beginning;
  flow.end("only once");
  const { stream } = await fresh.take();
  assert.equal(String(await readAll(stream)), "only once");
  stream.end(encodeReply({ kind: "open", body: Buffer.alloc(0) }));
  await readAll(flow);
  assert.equal(dial.dialled(), 2);
});

test("beginFlow() does not ask again once data may have gone out", async () => {
  await using den = peer();
  const dial = dialEach(den);
  const { flow, opened } = await beginFlow(dial, target);
  flow.write("once");
  await den.take();
  den.streams[0]!.destroy(lost);
  await assert.rejects(opened, { code: "RESET" });
  assert.equal(dial.dialled(), 1);
});

test("openFlow() asks again, once, when the connection was lost under its request", async () => {
  await using den = peer();
  await using fresh = peer();
  const dial = dialEach(den, fresh, den);
  const opening = openFlow(dial, target);
  await den.take();
  den.streams[0]!.destroy(lost);
  const { stream } = await fresh.take();
  stream.end(encodeReply({ kind: "open", body: Buffer.alloc(0) }));
  (await opening).end();

  const failing = openFlow(dialEach(den, fresh), target);
  await den.take();
  den.streams.at(-1)!.destroy(lost);
  await fresh.take();
  fresh.streams.at(-1)!.destroy(lost);
  await assert.rejects(failing, { code: "RESET" });
});

test("openFlow() does not ask again for what was refused, by the target or by the peer", async () => {
  await using den = peer();
  const dial = dialEach(den, den);
  const refused = openFlow(dial, target);
  const { stream } = await den.take();
  stream.end(encodeReply({ kind: "refused", refusal: "refused", text: "nobody there" }));
  await assert.rejects(refused, { code: "FLOW_REFUSED", refusal: "refused" });
  const closed = openFlow(dial, target);
  await den.take();
  den.pair.server.abort(CloseCode.UNAVAILABLE);
  await assert.rejects(closed, { code: "UNAVAILABLE" });
  assert.equal(dial.dialled(), 2);
});

test("openFlow() takes an end before the answer for a failure", async () => {
  await using den = peer();
  const opening = openFlow(dialEach(den), target);
  (await den.take()).stream.end();
  await assert.rejects(opening, { code: "ENDED" });
});

test("openFlow() tells of a connection of one stream that breaks before its answer, and nobody else is told", async () => {
  await using den = peer();
  const dial: DialTunnel = async () => ({ ...(await den.open()), multiplexed: false });
  const opened = openFlow(dial, target);
  await den.take();
  const cut = new Error("revoked");
  den.streams[0]!.destroy(cut);
  // An error without a listener would be this process's end.
  await assert.rejects(opened, cut);
});
