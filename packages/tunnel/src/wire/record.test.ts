import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  dataHeader,
  endRecord,
  MAX_DATA,
  RecordDecoder,
  RecordError,
  resetRecord,
} from "./record.ts";

/** Decode `chunks`; data as one hex string per run, then `end` or `reset N`. */
function decode(chunks: readonly Uint8Array[]): string[] {
  const seen: string[] = [];
  let data: Buffer[] = [];
  const flush = () => {
    if (data.length > 0) seen.push(Buffer.concat(data).toString("hex"));
    data = [];
  };
  const decoder = new RecordDecoder({
    data: (bytes) => data.push(bytes),
    end() {
      flush();
      seen.push("end");
    },
    reset(code) {
      flush();
      seen.push(`reset ${code}`);
    },
  });
  for (const chunk of chunks) decoder.push(Buffer.from(chunk));
  flush();
  return seen;
}

/** `bytes`, cut at each of `cuts`. */
function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((n) => n % (bytes.length + 1)))].toSorted((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

test("records are these bytes", () => {
  assert.deepEqual(dataHeader(1), Buffer.from([0, 1]));
  assert.deepEqual(dataHeader(MAX_DATA), Buffer.from([0xff, 0xfe]));
  assert.deepEqual(Buffer.from(endRecord), Buffer.from([0, 0]));
  assert.deepEqual(resetRecord(3), Buffer.from([0xff, 0xff, 0, 0, 0, 3]));
  assert.deepEqual(resetRecord(2 ** 40), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
  assert.throws(() => dataHeader(0), RangeError);
  assert.throws(() => dataHeader(65_535), RangeError);
});

test("RecordDecoder gives back what was framed, wherever it is cut", () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 });
  const finish = fc.constantFrom("none", "end", "reset", "end, reset");
  fc.assert(
    fc.property(bodies, finish, fc.array(fc.nat()), (bodies, finish, cuts) => {
      const bytes = Buffer.concat([
        ...bodies.flatMap((body) => [dataHeader(body.length), body]),
        ...(finish.startsWith("end") ? [endRecord] : []),
        ...(finish.endsWith("reset") ? [resetRecord(7)] : []),
      ]);
      const data = Buffer.concat(bodies).toString("hex");
      const expected = [
        ...(data === "" ? [] : [data]),
        ...(finish.startsWith("end") ? ["end"] : []),
        ...(finish.endsWith("reset") ? ["reset 7"] : []),
      ];
      assert.deepEqual(decode(cut(bytes, cuts)), expected);
      assert.deepEqual(decode([...bytes].map((byte) => Buffer.of(byte))), expected);
    }),
  );
});

test("RecordDecoder hands out views, not copies", () => {
  const chunk = Buffer.concat([
    dataHeader(3),
    Buffer.from("abc"),
    dataHeader(2),
    Buffer.from("de"),
  ]);
  const seen: Buffer[] = [];
  const decoder = new RecordDecoder({
    data: (bytes) => seen.push(bytes),
    end: () => assert.fail(),
    reset: () => assert.fail(),
  });
  decoder.push(chunk);
  assert.deepEqual(seen.map(String), ["abc", "de"]);
  for (const bytes of seen) assert.equal(bytes.buffer, chunk.buffer);
});

test("RecordDecoder knows a cut from an end", () => {
  const ended = (...chunks: readonly Uint8Array[]) => {
    const decoder = new RecordDecoder({ data() {}, end() {}, reset() {} });
    for (const chunk of chunks) decoder.push(Buffer.from(chunk));
    return decoder.ended;
  };
  assert.equal(ended(), false);
  assert.equal(ended(dataHeader(2), Buffer.from("ab")), false);
  assert.equal(ended(endRecord.subarray(1)), false);
  assert.equal(ended(resetRecord(1).subarray(0, 5)), false);
  assert.equal(ended(endRecord), true);
  assert.equal(ended(resetRecord(1)), true);
});

test("RecordDecoder refuses data after the end, and anything after a reset", () => {
  assert.throws(() => decode([endRecord, dataHeader(1)]), RecordError);
  assert.throws(() => decode([endRecord, endRecord]), RecordError);
  assert.throws(() => decode([Buffer.concat([resetRecord(1), Buffer.of(0)])]), RecordError);
});

test("RecordDecoder takes any bytes, or throws RecordError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.array(fc.nat()), (bytes, cuts) => {
      try {
        decode(cut(Buffer.from(bytes), cuts));
      } catch (error) {
        assert.ok(error instanceof RecordError);
      }
    }),
  );
});
