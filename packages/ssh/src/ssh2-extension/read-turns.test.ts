import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { shortTurns } from "../pass-on.ts";
import { readByTurns } from "./read-turns.ts";

const KiB = 1_024;

test("readByTurns() lets others have their turn while somebody types, and all comes in its order", async () => {
  const { near, read } = reader();
  const sent = randomBytes(1_024 * KiB);
  const typing = shortTurns();
  for (let at = 0; at < sent.length; at += 16 * KiB) near.write(sent.subarray(at, at + 16 * KiB));
  let [before, turns] = [0, 0];
  for (; before < sent.length; turns++) {
    await turn();
    const now = lengthOf(read);
    assert.ok(now - before <= 128 * KiB, `${now - before} bytes in one turn`);
    before = now;
  }
  typing[Symbol.dispose]();
  assert.ok(turns >= 8);
  assert.deepEqual(Buffer.concat(read), sent);
});

test("readByTurns() stops nothing while nobody types", () => {
  const { far } = reader();
  far.emit("data", Buffer.alloc(4_096 * KiB));
  assert.equal(far.isPaused(), false);
});

test("readByTurns() does not go on at a drain before its turn, nor in its turn while answers wait", async () => {
  const { near, far } = reader();
  using _typing = shortTurns();
  far.emit("data", Buffer.alloc(64 * KiB));
  far.emit("drain");
  assert.equal(far.isPaused(), true);
  far.write(Buffer.alloc(2_048 * KiB));
  await turn();
  await turn();
  assert.equal(far.isPaused(), true);
  near.resume();
  while (far.isPaused()) await turn();
});

/** What has been read at the far end of a transport. */
function reader(): { readonly near: Duplex; readonly far: Duplex; readonly read: Buffer[] } {
  const [near, far] = duplexPair({ highWaterMark: 16 * KiB });
  const read: Buffer[] = [];
  const hasRead = readByTurns(far);
  far.on("data", (data: Buffer) => {
    read.push(data);
    hasRead(data.length);
  });
  return { near, far, read };
}

function lengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, each) => sum + each.length, 0);
}
