import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { connectionPair } from "@alknet/core/testing";
import { connectionDatagrams } from "./connection-datagrams.ts";

async function pair() {
  const connections = connectionPair({ alpn: "alknet/tunnel" });
  return {
    a: connectionDatagrams(connections.client)!,
    b: connectionDatagrams(connections.server)!,
    [Symbol.asyncDispose]: () => connections[Symbol.asyncDispose](),
  };
}

const texts = (got: readonly Uint8Array[]) => got.map((packet) => Buffer.from(packet).toString());

test("connectionDatagrams() takes each packet to its flow, and drops those of flows that are over", async () => {
  await using ends = await pair();
  const got: Uint8Array[] = [];
  const numbers = [ends.b.allocate(), ends.b.allocate()];
  assert.deepEqual(numbers, [0, 1]);
  using first = ends.a.open(0, () => {});
  using second = ends.a.open(1, () => {});
  const there = ends.b.open(1, (packet) => got.push(packet));
  first.send(Buffer.from("nobody's"));
  second.send(Buffer.from("ours"));
  await turn();
  there[Symbol.dispose]();
  second.send(Buffer.from("late"));
  await turn();
  assert.deepEqual(texts(got), ["ours"]);
});

test("what overtakes the answer waits for it, within bounds, and for no other", async () => {
  await using ends = await pair();
  using sender = ends.a.open(7, () => {});
  sender.send(Buffer.from("before anybody asked"));
  await turn();
  const got: Uint8Array[] = [];
  {
    using _asking = ends.b.expect();
    for (let at = 0; at < 400; at++) {
      sender.send(Buffer.from(String(at)));
      await turn();
    }
    ends.b.open(7, (packet) => got.push(packet));
    assert.deepEqual(
      texts(got),
      Array.from({ length: 256 }, (_, at) => String(at)),
    );
  }
  sender.send(Buffer.from("last"));
  await turn();
  assert.equal(texts(got).at(-1), "last");
  {
    using _asking = ends.b.expect();
    ends.a.open(8, () => {}).send(Buffer.from("forgotten"));
    await turn();
  }
  ends.b.open(8, () => assert.fail("kept"));
});
