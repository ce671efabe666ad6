import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { AccessRevoked } from "@alknet/core/access";
import { CloseCode } from "@alknet/core/close-code";
import { StreamReset } from "@alknet/core/connection";
import { connectionPair } from "@alknet/core/testing";
import { framed } from "./framed.ts";
import { join } from "./join.ts";
import { connectLarge, MAX_READ } from "./large-reads.ts";
import { MAX_QUEUED } from "./max-queued.ts";
import { readAll, socketPair, tcpServer } from "./testing.ts";

/** An application at each end: `left.a` … `left.b` joined to `right.a` … `right.b`. */
async function joined() {
  const left = await socketPair();
  const right = await socketPair();
  return {
    near: left.a,
    far: right.b,
    /** The two that are joined. */
    inner: [left.b, right.a] as const,
    end: join(left.b, right.a),
    async [Symbol.asyncDispose]() {
      await left[Symbol.asyncDispose]();
      await right[Symbol.asyncDispose]();
    },
  };
}

test("join() copies both ways and passes half-close on, each direction by itself", async () => {
  await using flow = await joined();
  const question = randomBytes(3_000_000);
  const answer = randomBytes(2_000_000);
  flow.near.end(question);
  // The far end answers only after the question's end, so that its half-close must have come through.
  assert.deepEqual(await readAll(flow.far), question);
  flow.far.end(answer);
  assert.deepEqual(await readAll(flow.near), answer);
  assert.deepEqual(await flow.end, { kind: "ended" });
});

/** A stream of a connection in memory, its far end, and what it costs to close them. */
async function streamPair() {
  const pair = connectionPair();
  const near = await pair.client.open();
  near.write("-");
  const far = (await pair.server.accept())!;
  await once(far, "readable");
  far.read();
  return { near, far, [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose]() };
}

test("join() answers a reset of the socket with a reset of the flow, code 0", async () => {
  await using sockets = await socketPair();
  await using streams = await streamPair();
  const failed = once(streams.far, "error");
  const end = join(sockets.b, streams.near);
  sockets.a.resetAndDestroy();
  const [error] = await failed;
  assert.ok(error instanceof StreamReset);
  assert.equal(error.resetCode, 0);
  const how = await end;
  assert.equal(how.kind === "reset" && how.by, "socket");
});

test("join() answers a reset of the flow with a TCP reset", async () => {
  await using sockets = await socketPair();
  await using streams = await streamPair();
  const failed = once(sockets.a, "error");
  sockets.a.resume();
  const end = join(sockets.b, streams.near);
  streams.far.destroy(Object.assign(new Error("over"), { code: "LIMIT" }));
  assert.equal((await failed)[0].code, "ECONNRESET");
  const how = await end;
  assert.equal(how.kind === "reset" && how.by, "flow");
  assert.equal(how.kind === "reset" && (how.error as StreamReset).resetCode, CloseCode.LIMIT);
});

test("join() stops reading when the other side does not take it, and loses nothing", async () => {
  await using flow = await joined();
  flow.far.pause();
  const total = 64 * 2 ** 20;
  const chunk = Buffer.alloc(2 ** 20, 7);
  let written = 0;
  const writer = (async () => {
    for (; written < total; written += chunk.length) {
      if (!flow.near.write(chunk)) await once(flow.near, "drain");
    }
    flow.near.end();
  })();
  // The kernel's buffers fill, then ours up to the mark, then nothing is read any more.
  const [socket, right] = flow.inner;
  while (!socket.isPaused()) await new Promise(setImmediate);
  assert.ok(right.writableLength >= MAX_QUEUED);
  // One read is at most 64 KiB, and one turn of the loop at most 32 of them.
  assert.ok(
    right.writableLength < MAX_QUEUED + 32 * 65_536,
    `${right.writableLength} bytes queued`,
  );
  assert.ok(written < total);
  assert.equal((await readAll(flow.far)).length, total);
  await writer;
  flow.far.end();
  flow.near.resume();
  assert.deepEqual(await flow.end, { kind: "ended" });
});

test("join() resets both sides when its signal aborts, with the code of its reason", async () => {
  await using sockets = await socketPair();
  await using streams = await streamPair();
  const controller = new AbortController();
  const end = join(sockets.b, streams.near, { signal: controller.signal });
  const failed = Promise.all([once(sockets.a, "error"), once(streams.far, "error")]);
  sockets.a.resume();
  const reason = new AccessRevoked("access revoked");
  controller.abort(reason);
  assert.deepEqual(await end, { kind: "reset", by: "signal", error: reason });
  const [[tcp], [reset]] = await failed;
  assert.equal(tcp.code, "ECONNRESET");
  assert.equal(reset.resetCode, CloseCode.REVOKED);
});

test("join() ends at once when the signal has aborted, or a side has gone, before", async () => {
  const left = await socketPair();
  const right = await socketPair();
  const reason = new AccessRevoked("access revoked");
  assert.deepEqual(await join(left.b, right.a, { signal: AbortSignal.abort(reason) }), {
    kind: "reset",
    by: "signal",
    error: reason,
  });
  const other = await socketPair();
  const end = await join(other.b, right.a);
  assert.equal(end.kind, "reset");
  assert.ok(other.b.closed);
  for (const pair of [left, right, other]) await pair[Symbol.asyncDispose]();
});

test("join() sends what the socket says before the far side consents, and reads nothing until then", async () => {
  await using left = await socketPair();
  await using right = await socketPair();
  const consent = Promise.withResolvers<void>();
  const end = join(left.b, right.a, { opened: consent.promise });
  left.a.write("early");
  assert.equal(String((await once(right.b, "data"))[0]), "early");
  right.b.end("late");
  await once(right.a, "readable");
  assert.equal(right.a.readableLength, 4);
  right.a.removeAllListeners("readable");
  consent.resolve();
  assert.equal(String(await readAll(left.a)), "late");
  left.a.end();
  assert.deepEqual(await end, { kind: "ended" });
});

test("join() resets the socket when the far side does not consent", async () => {
  await using left = await socketPair();
  await using right = await socketPair();
  const failed = once(left.a, "error");
  left.a.resume();
  const end = await join(left.b, right.a, { opened: Promise.reject(new Error("no")) });
  assert.equal(end.kind, "reset");
  assert.equal((await failed)[0].code, "ECONNRESET");
});

test("join() copies from large reads what came before and what comes after, in order, to the end", async () => {
  const sent = randomBytes(6_000_000);
  await using server = await tcpServer((socket) => {
    socket.write(sent.subarray(0, 1_000));
    socket.once("data", () => socket.end(sent.subarray(1_000)));
  });
  await using pair = await socketPair();
  const socket = connectLarge({ ...server.to, allowHalfOpen: true });
  await once(socket, "readable");
  const far = framed(pair.b);
  const end = join(socket, framed(pair.a));
  far.end("go on");
  assert.ok((await readAll(far)).equals(sent));
  assert.deepEqual(await end, { kind: "ended" });
});

test("join() stops large reads when the other side does not take them, and loses nothing", async () => {
  const sent = randomBytes(64 * 2 ** 20);
  let written = false;
  await using server = await tcpServer((socket) => {
    socket.write(sent, () => (written = true));
    socket.end();
  });
  await using pair = await socketPair();
  const socket = connectLarge({ ...server.to, allowHalfOpen: true });
  await once(socket, "connect");
  const end = join(socket, framed(pair.a));
  // Nobody reads at the far end, so that all buffers between fill up.
  while (pair.a.writableLength === 0) await new Promise(setImmediate);
  for (let turn = 0; turn < 1_000; turn++) await new Promise(setImmediate);
  assert.ok(pair.a.writableLength < MAX_QUEUED + 2 * MAX_READ, String(pair.a.writableLength));
  assert.equal(written, false);
  const far = framed(pair.b);
  far.end();
  assert.ok((await readAll(far)).equals(sent));
  assert.deepEqual(await end, { kind: "ended" });
});
