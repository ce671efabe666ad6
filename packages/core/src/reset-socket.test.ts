import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { resetSocket } from "./reset-socket.ts";
import { readAll, socketPair, unixServer } from "./testing.ts";

test("resetSocket() is an error for who reads, however much had been written", async () => {
  await using pair = await socketPair();
  const read = readAll(pair.b);
  for (let n = 0; n < 64; n++) pair.a.write(Buffer.alloc(2 ** 20));
  assert.ok(pair.a.writableLength > 0);
  resetSocket(pair.a);
  await assert.rejects(read, { code: "ECONNRESET" });
});

test("resetSocket() is an error for who reads, also when the end was asked for and has not left", async () => {
  await using pair = await socketPair();
  for (let n = 0; n < 64; n++) pair.a.write(Buffer.alloc(2 ** 20));
  pair.a.end();
  resetSocket(pair.a);
  await assert.rejects(readAll(pair.b), { code: "ECONNRESET" });
});

test("resetSocket() closes a socket that is shutting down, and one that was closed", async () => {
  await using pair = await socketPair();
  const closed = once(pair.a, "close");
  pair.a.end("all of it");
  const read = readAll(pair.b);
  while (pair.a.writableLength > 0) await new Promise(setImmediate);
  resetSocket(pair.a);
  resetSocket(pair.a);
  await closed;
  assert.equal(String(await read), "all of it");
});

test("resetSocket() closes a Unix socket, which has no reset", async () => {
  const served = Promise.withResolvers<Socket>();
  await using server = await unixServer((socket) => served.resolve(socket));
  const client = connect(server.path);
  const closed = once(client, "close");
  resetSocket(await served.promise);
  client.resume();
  await closed;
});
