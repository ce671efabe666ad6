import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { CloseCode } from "@alknet/core/close-code";
import { StreamReset } from "@alknet/core/connection";
import { framed } from "./framed.ts";
import { FlowCut } from "./reset.ts";
import { readAll, socketPair } from "./testing.ts";
import { dataHeader, endRecord } from "./wire/record.ts";

/** Flows over the two ends of a TCP connection. */
async function flows() {
  const sockets = await socketPair();
  return {
    sockets,
    near: framed(sockets.a),
    far: framed(sockets.b),
    [Symbol.asyncDispose]: () => sockets[Symbol.asyncDispose](),
  };
}

/** The error that reading `flow` ends with; its end would be a failure. */
async function failure(flow: Duplex): Promise<unknown> {
  flow.resume();
  flow.once("end", () => flow.emit("error", new Error("ended in order")));
  return ((await once(flow, "error")) as unknown[])[0];
}

test("framed() carries data both ways, ends each direction by itself, then the connection", async () => {
  await using pair = await flows();
  const question = randomBytes(1_000_000);
  const answer = randomBytes(300_000);
  pair.near.end(question);
  assert.deepEqual(await readAll(pair.far), question);
  assert.equal(pair.sockets.b.readableEnded, false);
  const closed = [once(pair.sockets.a, "close"), once(pair.sockets.b, "close")];
  pair.far.end(answer);
  assert.deepEqual(await readAll(pair.near), answer);
  await Promise.all(closed);
  assert.ok(pair.sockets.a.readableEnded && pair.sockets.b.readableEnded);
});

test("framed() frames chunks of any size, also above what a record holds", async () => {
  await using pair = await flows();
  const sizes = [1, 65_533, 65_534, 65_535, 65_536, 131_068, 131_069, 400_000];
  const sent = sizes.map((size) => randomBytes(size));
  const all = readAll(pair.far);
  for (const chunk of sent) pair.near.write(chunk);
  pair.near.write(Buffer.alloc(0));
  pair.near.end();
  assert.deepEqual(await all, Buffer.concat(sent));
  pair.far.end();
  await readAll(pair.near);
});

test("framed() has done with what is written by writeNow(), and keeps the order of what waits", async () => {
  await using pair = await flows();
  const all = readAll(pair.far);
  const sent: Buffer[] = [];
  const memory = Buffer.alloc(300_000);
  for (let round = 0; round < 40; round++) {
    const bytes = memory.subarray(0, 1 + round * 7_000);
    bytes.fill(round + 1);
    sent.push(Buffer.from(bytes));
    if (round % 5 === 0) pair.near.write(sent.at(-1));
    else if (!pair.near.writeNow(bytes)) await once(pair.near, "drain");
    memory.fill(0);
  }
  pair.near.end();
  assert.ok((await all).equals(Buffer.concat(sent)));
  pair.far.end();
  await readAll(pair.near);
});

test("framed() passes a reset on, with the code of its error", async () => {
  await using pair = await flows();
  pair.near.on("error", () => {});
  pair.near.destroy(Object.assign(new Error("no more"), { code: "REVOKED" }));
  const error = await failure(pair.far);
  assert.ok(error instanceof StreamReset);
  assert.equal(error.resetCode, CloseCode.REVOKED);
});

test("framed() passes a reset on, also after its own end", async () => {
  await using pair = await flows();
  pair.near.on("error", () => {});
  pair.near.end("all of it");
  await once(pair.near, "finish");
  // The far side has the end, and still writes: the reset tells it that nobody reads that.
  assert.equal(String(await readAll(pair.far)), "all of it");
  pair.near.destroy(Object.assign(new Error("no more"), { code: "LIMIT" }));
  const [error] = await once(pair.far, "error");
  assert.ok(error instanceof StreamReset);
  assert.equal(error.resetCode, CloseCode.LIMIT);
});

test("framed() takes a bare FIN or RST for a cut, never for an end", async () => {
  for (const sent of [
    Buffer.alloc(0),
    Buffer.of(0),
    Buffer.concat([dataHeader(5), Buffer.from("ab")]),
    Buffer.concat([dataHeader(2), Buffer.from("ab")]),
  ]) {
    for (const cut of ["fin", "rst"] as const) {
      await using sockets = await socketPair();
      const flow = framed(sockets.b);
      const failed = failure(flow);
      sockets.a.write(sent);
      if (cut === "fin") sockets.a.end();
      else sockets.a.resetAndDestroy();
      const error = (await failed) as NodeJS.ErrnoException;
      if (cut === "fin") assert.ok(error instanceof FlowCut);
      else assert.ok(error instanceof FlowCut || error.code === "ECONNRESET", error.message);
      assert.ok(sockets.b.destroyed);
    }
  }
});

test("framed() takes it for a cut when the connection ends between the two ends", async () => {
  await using sockets = await socketPair();
  const flow = framed(sockets.b);
  const failed = once(flow, "error");
  sockets.a.end(endRecord);
  assert.equal((await readAll(flow)).length, 0);
  // The far side is gone for good: what is written from here on never arrives.
  sockets.a.destroy();
  flow.on("error", () => {});
  while (!flow.destroyed) {
    flow.write(Buffer.alloc(65_536));
    await new Promise(setImmediate);
  }
  const [error] = await failed;
  assert.ok(error instanceof Error);
});

test("framed() ends the flow when the peer breaks the framing", async () => {
  await using sockets = await socketPair();
  const flow = framed(sockets.b);
  flow.on("error", () => {});
  const failed = once(flow, "error");
  flow.resume();
  sockets.a.write(Buffer.concat([endRecord, dataHeader(1), Buffer.of(0)]));
  assert.equal((await failed)[0].code, "PROTOCOL");
});

test("framed() reads no more than its reader takes", async () => {
  await using pair = await flows();
  const total = 64 * 2 ** 20;
  const chunk = Buffer.alloc(2 ** 20);
  let written = 0;
  const writer = (async () => {
    for (; written < total; written += chunk.length) {
      if (!pair.near.write(chunk)) await once(pair.near, "drain");
    }
    pair.near.end();
  })();
  pair.far.read(0);
  while (!pair.sockets.b.isPaused()) await new Promise(setImmediate);
  assert.ok(pair.far.readableLength < 2 ** 20, `${pair.far.readableLength} bytes queued`);
  assert.ok(written < total);
  assert.equal((await readAll(pair.far)).length, total);
  await writer;
  pair.far.end();
  await readAll(pair.near);
});
