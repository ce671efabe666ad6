import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import * as fc from "fast-check";
import { gatherSmall } from "./gather-small.ts";

/** A readable that others push to, and what has been gathered in it. */
function gathering() {
  const readable = new Readable({ read() {}, highWaterMark: 2 ** 20 });
  return { readable, gathered: gatherSmall(readable) };
}

test("pieces of one byte that wait are few pieces, and come whole", async () => {
  const { readable, gathered } = gathering();
  const size = 300_000;
  for (let each = 0; each < size; each++) readable.push(Buffer.of(each % 251));
  assert.equal(readable.readableLength + gathered(), size);
  assert.ok(gathered() > 0);
  let pieces = 0;
  readable.on("data", () => pieces++);
  readable.push(null);
  const got = await buffer(readable);
  assert.ok(pieces < 10, `${pieces} pieces`);
  assert.deepEqual(got, Buffer.from(Array.from({ length: size }, (_, each) => each % 251)));
});

test("whatever is pushed, and however it is read, comes in order", async () => {
  const step = fc.oneof(
    fc.record({ push: fc.uint8Array({ minLength: 1, maxLength: 6_000 }) }),
    fc.record({ read: fc.option(fc.integer({ min: 1, max: 9_000 })) }),
    fc.constant({ flow: true }),
    fc.constant({ pause: true }),
    fc.constant({ turn: true }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { readable, gathered } = gathering();
      const sent: Uint8Array[] = [];
      const got: Buffer[] = [];
      let isFlowing = false;
      for (const each of steps) {
        if ("push" in each) {
          sent.push(each.push);
          readable.push(Buffer.from(each.push));
        } else if ("read" in each) {
          const piece = isFlowing ? null : (readable.read(each.read ?? undefined) as Buffer | null);
          if (piece !== null) got.push(piece);
        } else if ("flow" in each) {
          if (!isFlowing) readable.on("data", (data: Buffer) => got.push(data));
          isFlowing = true;
          readable.resume();
        } else if ("pause" in each) readable.pause();
        else await new Promise(setImmediate);
      }
      const unread = readable.readableLength + gathered();
      const all = Buffer.concat(sent);
      assert.equal(Buffer.concat(got).length + unread, all.length);
      readable.push(null);
      if (!isFlowing) readable.on("data", (data: Buffer) => got.push(data));
      const ended = new Promise((resolve) => readable.once("end", resolve));
      readable.resume();
      await ended;
      assert.deepEqual(Buffer.concat(got), all);
    }),
  );
});
