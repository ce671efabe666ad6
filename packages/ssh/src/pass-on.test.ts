import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { passOn, shortTurns } from "./pass-on.ts";
import { longestTurn } from "./testing-turns.ts";

test("passOn() hands on all that comes, however slowly it is taken", async () => {
  const sent = randomBytes(3 * 2 ** 20);
  const to = new PassThrough();
  const from = Readable.from(piecesOf(sent, 10_000), { objectMode: false });
  passOn(from, to);
  from.once("end", () => to.end());
  assert.deepEqual(await buffer(to), sent);
});

test("passOn() reads no more than waits to be written, in bytes and in pieces", async () => {
  for (const [size, most] of [
    [64 * 1024, 1_100_000],
    [1, 20_000],
  ] as const) {
    let made = 0;
    const from = new Readable({
      highWaterMark: 16_384,
      read() {
        made += size;
        this.push(Buffer.alloc(size));
      },
    });
    const stuck: (() => void)[] = [];
    const to = new Writable({ write: (_data, _encoding, done) => void stuck.push(done) });
    passOn(from, to);
    for (let before = -1; before !== made; await turn()) before = made;
    assert.ok(made < most, `${made} bytes in pieces of ${size}`);
    const before = made;
    while (made === before) {
      stuck.shift()?.();
      await turn();
    }
    from.destroy();
  }
});

test("passOn() lets others have their turn, however much there is, and sooner while somebody types", async () => {
  const long = await longestTurn();
  assert.ok(long > 256 * 1024 && long <= 2 ** 20, `${long} bytes in one turn`);
  const [one, other] = [shortTurns(), shortTurns()];
  const short = await longestTurn();
  assert.ok(short <= 128 * 1024, `${short} bytes in one turn`);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert.ok((await longestTurn()) <= 128 * 1024);
  other[Symbol.dispose]();
  assert.ok((await longestTurn()) > 256 * 1024);
});

test("passOn() goes on reading when what it writes to has failed, until it is stopped", async () => {
  const from = new PassThrough();
  const to = new Writable({ write: (_data, _encoding, done) => done(new Error("no more")) });
  const failed = once(to, "error");
  const stop = passOn(from, to);
  from.write("one");
  await failed;
  from.write(Buffer.alloc(2 ** 20));
  while (from.readableLength > 0) await turn();
  stop();
  from.pause();
  from.write("two");
  await turn();
  assert.equal(String(from.read()), "two");
});

function* piecesOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
