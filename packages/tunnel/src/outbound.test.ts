import assert from "node:assert/strict";
import { lchownSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { AccessRevoked } from "@alknet/core/access";
import { freePort } from "@alknet/core/testing-port";
import { outbound, type OutboundTarget } from "./outbound.ts";
import { readAll, tcpServer, testPeer, unixServer } from "./testing.ts";
import { refusal } from "./test-refusal.ts";

const never = new AbortController().signal;

test("connect() reaches TCP and Unix targets under one count, and gives back what is disposed of", async () => {
  await using server = await tcpServer((socket) => socket.end("hello"));
  await using unix = await unixServer((socket) => socket.end("hello"));
  const { auth } = testPeer(`tunnel:dial:localhost:*`, `tunnel:dial:unix:${unix.folder}/*`);
  const out = outbound();
  for (const target of [server.to, { path: unix.path }] satisfies OutboundTarget[]) {
    const flow = await out.connect(auth, target, { signal: never });
    assert.equal(out.flows, 1);
    assert.equal(String(await readAll(flow.socket)), "hello");
    flow.socket.end();
    flow[Symbol.dispose]();
    flow[Symbol.dispose]();
    assert.equal(out.flows, 0);
  }
});

test("connect() aborts the signal of the flow whose right is gone, and of no other", async () => {
  await using server = await tcpServer();
  await using unix = await unixServer((socket) => socket.end("hello"));
  const tcp = `tunnel:dial:127.0.0.1:${server.to.port}`;
  const { auth, rights } = testPeer(tcp, `tunnel:dial:unix:${unix.path}`);
  const out = outbound();
  using stays = await out.connect(auth, server.to, { signal: never });
  using falls = await out.connect(auth, { path: unix.path }, { signal: never });
  rights(tcp);
  assert.ok(falls.signal.reason instanceof AccessRevoked);
  assert.equal(stays.signal.aborted, false);
  for (const { socket } of [stays, falls]) socket.destroy();
});

test("connect() tells why a Unix socket is not reached", async () => {
  await using unix = await unixServer((socket) => socket.end("hello"));
  const { auth } = testPeer(`tunnel:dial:unix:${unix.folder}/**`, "tunnel:dial");
  const out = outbound();
  for (const [path, expected, text] of [
    [`${unix.folder}/none.sock`, "host-not-found", /no such socket/],
    [`${unix.folder}/${"x".repeat(108)}`, "host-not-found", /longer than 107 bytes/],
    [`${unix.folder}/../s.sock`, "not-allowed", /not allowed/],
    ["relative.sock", "not-allowed", /not allowed/],
    ["/run/other.sock", "not-allowed", /this key lacks tunnel:dial:unix:\/run\/other.sock/],
  ] as const) {
    const refused = await refusal(out.connect(auth, { path }, { signal: never }));
    assert.equal(refused.refusal, expected, path);
    assert.match(refused.message, text);
  }
  assert.equal(out.flows, 0);
});

test("connect() counts what fails no longer, and rejects with the reason of who gave it up", async () => {
  const { auth } = testPeer("tunnel:dial:localhost:*");
  const out = outbound();
  const target = { host: "127.0.0.1", port: await freePort() };
  assert.equal((await refusal(out.connect(auth, target, { signal: never }))).refusal, "refused");
  const gone = AbortSignal.abort(new Error("gone"));
  await assert.rejects(out.connect(auth, target, { signal: gone }), { message: "gone" });
  assert.equal(out.flows, 0);
});

test("connect() counts the flows of a peer whatever they are for", async () => {
  await using server = await tcpServer();
  const out = outbound({ limits: { flowsPerPeer: 1 } });
  const { auth } = testPeer("tunnel:dial:localhost:*");
  const other = testPeer("tunnel:dial:localhost:*");
  const flow = await out.connect(auth, server.to, { signal: never });
  const again = out.connect(other.auth, server.to, { signal: never });
  assert.equal((await refusal(again)).refusal, "limit");
  flow[Symbol.dispose]();
  flow.socket.destroy();
  const next = await out.connect(other.auth, server.to, { signal: never });
  next[Symbol.dispose]();
  next.socket.destroy();
});

test(
  "connect() follows links of another user only to what the peer may reach by itself",
  { skip: process.getuid?.() === 0 ? false : "links of others are made by root" },
  async () => {
    await using server = await unixServer((socket) => socket.end("hello"));
    await using other = await unixServer();
    const link = join(other.folder, "link");
    symlinkSync(server.path, link);
    const ofFolder = `tunnel:dial:unix:${other.folder}/**`;
    const ofServer = `tunnel:dial:unix:${server.path}`;
    const { auth, rights } = testPeer(ofFolder);
    const out = outbound();
    const greeted = async () => {
      using flow = await out.connect(auth, { path: link }, { signal: never });
      assert.equal(String(await readAll(flow.socket)), "hello");
      flow.socket.destroy();
    };
    await greeted();
    lchownSync(link, 65_534, 65_534);
    await assert.rejects(out.connect(auth, { path: link }, { signal: never }), {
      refusal: "not-allowed",
      message: `${server.path}: not allowed, this key lacks ${ofServer}`,
    });
    rights(ofFolder, ofServer);
    await greeted();
    // What is held is the right to what is reached.
    using flow = await out.connect(auth, { path: link }, { signal: never });
    rights(ofFolder);
    assert.ok(flow.signal.reason instanceof AccessRevoked);
    flow.socket.destroy();
    assert.equal(out.flows, 1);
  },
);
