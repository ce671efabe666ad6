import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { pack } from "./framed-slabs.ts";
import { MAX_DATA, RecordDecoder } from "./wire/record.ts";

function unpack(records: Buffer): Buffer {
  const data: Buffer[] = [];
  new RecordDecoder({
    data: (bytes) => data.push(bytes),
    end: () => assert.fail("an end"),
    reset: () => assert.fail("a reset"),
  }).push(records);
  return Buffer.concat(data);
}

test("pack() makes records of chunks of any size", () => {
  const size = fc.oneof(
    fc.integer({ min: 0, max: 20 }),
    fc.integer({ min: MAX_DATA - 3, max: MAX_DATA + 3 }),
    fc.integer({ min: 0, max: 5 * MAX_DATA }),
  );
  fc.assert(
    fc.property(fc.array(size, { maxLength: 6 }), fc.boolean(), (sizes, releases) => {
      const chunks = sizes.map((each) => randomBytes(each));
      const all = Buffer.concat(chunks);
      const { records, release } = pack(chunks, all.length);
      assert.equal(records.length, all.length + 2 * Math.ceil(all.length / MAX_DATA));
      assert.ok(unpack(records).equals(all));
      if (releases) release?.();
    }),
    { numRuns: 50 },
  );
});

test("pack() uses no memory twice before it was released", () => {
  const packed = [1, 2, 3].map((byte) => pack([Buffer.alloc(100_000, byte)], 100_000));
  packed[1]!.release!();
  const again = pack([Buffer.alloc(200_000, 9)], 200_000);
  assert.equal(again.records.buffer, packed[1]!.records.buffer);
  assert.ok(unpack(packed[0]!.records).equals(Buffer.alloc(100_000, 1)));
  assert.ok(unpack(packed[2]!.records).equals(Buffer.alloc(100_000, 3)));
});

test("pack() holds no slab for little data, nor for more than fits", () => {
  for (const length of [1, MAX_DATA, 8 * MAX_DATA + 1]) {
    assert.equal(pack([Buffer.alloc(length)], length).release, undefined);
  }
});
