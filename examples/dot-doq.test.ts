import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { FakeClock, connectionPair } from "@alknet/core/testing";
import * as fc from "fast-check";
import { answer, dotAndDoq } from "./dot-doq.ts";

const hosts = new Map([["den.example", "192.0.2.7"]]);

function query(name: string, type = 1): Buffer {
  const labels = name.split(".").map((label) => `${String.fromCharCode(label.length)}${label}`);
  return Buffer.concat([
    Buffer.from([0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    Buffer.from(`${labels.join("")}\0`, "latin1"),
    Buffer.from([0, type, 0, 1]),
  ]);
}

function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
}

test("answer() gives the address of a name, whatever its case", () => {
  const reply = answer(query("Den.Example"), hosts);
  assert.equal(reply.readUInt16BE(0), 0xabcd);
  assert.equal(reply[3], 0);
  assert.deepEqual([...reply.subarray(-4)], [192, 0, 2, 7]);
});

test("answer() says that there is no such name, and no such record", () => {
  assert.equal(answer(query("other.example"), hosts)[3], 3);
  const none = answer(query("den.example", 28), hosts);
  assert.equal(none[3], 0);
  assert.equal(none.readUInt16BE(6), 0);
});

test("answer() answers whatever comes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      assert.ok(answer(Buffer.from(bytes), hosts).length >= 12);
    }),
  );
});

test("dotAndDoq() answers many queries on one stream, cut anywhere", async () => {
  const [dot] = dotAndDoq({ hosts });
  await using pair = connectionPair({ alpn: "dot", multiplexed: false });
  const served = dot!.handle(pair.server);
  const stream = await pair.client.open();
  const bytes = Buffer.concat([framed(query("den.example")), framed(query("other.example"))]);
  for (const byte of bytes) stream.write(Buffer.of(byte));
  stream.end();
  const replies = Buffer.from(await text(stream.setEncoding("latin1")), "latin1");
  const first = answer(query("den.example"), hosts);
  const second = answer(query("other.example"), hosts);
  assert.deepEqual(replies, Buffer.concat([framed(first), framed(second)]));
  await pair.client.close();
  await served;
});

test("dotAndDoq() lets go of a client that is idle", async () => {
  const clock = new FakeClock();
  const [, doq] = dotAndDoq({ hosts, idle: 5_000, clock });
  await using pair = connectionPair({ alpn: "doq" });
  const served = doq!.handle(pair.server);
  clock.advance(5_000);
  await assert.rejects(served, { name: "TimeoutError" });
});
