import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type NetConnectOpts,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { resetSocket } from "./reset-socket.ts";

test("resetSocket() is an error for who reads, however much had been written", async () => {
  await using pair = await socketPair();
  const read = buffer(pair.b);
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
  await assert.rejects(buffer(pair.b), { code: "ECONNRESET" });
});

test("resetSocket() closes a socket that is shutting down, and one that was closed", async () => {
  await using pair = await socketPair();
  const closed = once(pair.a, "close");
  pair.a.end("all of it");
  const read = buffer(pair.b);
  while (pair.a.writableLength > 0) await new Promise(setImmediate);
  resetSocket(pair.a);
  resetSocket(pair.a);
  await closed;
  assert.equal(String(await read), "all of it");
});

test("resetSocket() closes a Unix socket, which has no reset", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alk-"));
  await using pair = await socketPair({ path: join(folder, "s.sock") });
  rmSync(folder, { recursive: true });
  const closed = once(pair.a, "close");
  resetSocket(pair.b);
  pair.a.resume();
  await closed;
});

/** Two sockets that are joined. */
async function socketPair(at: ListenOptions = { host: "127.0.0.1", port: 0 }) {
  const server = createServer({ allowHalfOpen: true });
  server.listen(at);
  await once(server, "listening");
  const port = at.path === undefined ? (server.address() as AddressInfo).port : 0;
  const a = connect({ ...at, port } as NetConnectOpts);
  const [[b]] = await Promise.all([
    once(server, "connection") as Promise<[Socket]>,
    once(a, "connect"),
  ]);
  server.close();
  for (const socket of [a, b]) socket.on("error", () => {});
  return {
    a,
    b,
    [Symbol.asyncDispose]: async () => {
      for (const socket of [a, b]) socket.destroy();
    },
  };
}
