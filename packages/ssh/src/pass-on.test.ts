import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { passOn } from "./pass-on.ts";

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

test("passOn() lets others have their turn, however much there is", async () => {
  let made = 0;
  const from = new Readable({
    highWaterMark: 65_536,
    read() {
      made += 65_536;
      this.push(Buffer.alloc(65_536));
    },
  });
  passOn(from, new Writable({ write: (_data, _encoding, done) => done() }));
  for (let before = 0; made < 2 ** 22; before = made) {
    await turn();
    assert.ok(made > before && made - before <= 2 ** 20, `${made - before} bytes in one turn`);
  }
  from.destroy();
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
