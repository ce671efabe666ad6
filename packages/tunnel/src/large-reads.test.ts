import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { connectLarge, takeReads } from "./large-reads.ts";
import { readAll, socketPair, tcpServer } from "./testing.ts";

test("connectLarge() makes sockets that are streams like any other, also many at a time", async () => {
  const sent = [1, 2, 3].map(() => randomBytes(3_000_000));
  let served = 0;
  await using server = await tcpServer((socket) => socket.end(sent[served++]!));
  const read: Buffer[] = await Promise.all(
    sent.map(() => readAll(connectLarge({ ...server.to, allowHalfOpen: false }))),
  );
  for (const bytes of sent) assert.ok(read.some((each) => each.equals(bytes)));
});

test("connectLarge() reads no more than its stream holds while nobody takes it", async () => {
  let written = 0;
  const size = 64 * 2 ** 20;
  await using server = await tcpServer((socket) => {
    socket.write(Buffer.alloc(size), () => {
      written = size;
    });
  });
  const socket = connectLarge(server.to);
  await once(socket, "readable");
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
  assert.ok(socket.readableLength < 2 ** 20, String(socket.readableLength));
  assert.equal(written, 0);
  socket.destroy();
});

test("takeReads() gets what comes, stops when told to, goes on, and leaves the end to the stream", async () => {
  const sent = randomBytes(5_000_000);
  await using server = await tcpServer((socket) => socket.end(sent));
  const socket = connectLarge({ ...server.to, allowHalfOpen: true });
  socket.pause();
  const got: Buffer[] = [];
  let stopped = false;
  const took = takeReads(socket, (bytes) => {
    assert.equal(stopped, false, "read while stopped");
    got.push(Buffer.from(bytes));
    stopped = true;
    setImmediate(() => {
      stopped = false;
      socket.resume();
    });
    return false;
  });
  assert.ok(took);
  socket.resume();
  await once(socket, "end");
  assert.ok(Buffer.concat(got).equals(sent));
  socket.end();
});

test("takeReads() tells of sockets that it can't read", async () => {
  await using pair = await socketPair();
  assert.equal(
    takeReads(pair.a, () => true),
    false,
  );
});
