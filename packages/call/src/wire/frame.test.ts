import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import * as fc from "fast-check";
import { encodeFrame, type Frame, FrameError, FrameReader, MAX_BODY } from "./frame.ts";

/** ASCII goes around what may be anything; the last two are longer than what goes as text, than a chunk. */
const json = fc.oneof(
  fc.string({ minLength: 1, unit: "binary" }),
  fc.string({ minLength: 1 }),
  fc.constant("x".repeat(5_000)),
  fc.constant("€".repeat(30_000)),
);

function bytesOf(frame: Frame): Buffer {
  return typeof frame === "string" ? Buffer.from(frame, "latin1") : frame;
}

function framesOf(...bodies: string[]): Buffer {
  return Buffer.concat(bodies.map((body) => bytesOf(encodeFrame("", body, ""))));
}

function header(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

/** Feed the chunks; what has come before an error counts. */
function read(
  reader: FrameReader,
  chunks: Iterable<Buffer>,
): { bodies: string[]; error?: unknown } {
  const bodies: string[] = [];
  try {
    for (const chunk of chunks) reader.push(chunk, (body) => bodies.push(body));
    return { bodies };
  } catch (error) {
    return { bodies, error };
  }
}

/** `bytes` in pieces of these lengths, again and again. */
function* cut(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length]!;
    // A copy: who sends may use the memory again.
    yield Buffer.from(bytes.subarray(at, at + length));
    at += length;
  }
}

test("encodeFrame() writes these bytes", () => {
  const body =
    '{"type":"call.requested","id":"1","payload":{"operationId":"/services/list","input":{}}}';
  const bytes = framesOf(body);
  assert.equal(bytes.subarray(0, 4).toString("hex"), "00000058");
  assert.equal(bytes.subarray(4).toString(), body);
  assert.equal(framesOf("é€").toString("hex"), "00000005" + "c3a9e282ac");
});

test("encodeFrame() puts text around JSON of any length and characters", () => {
  fc.assert(
    fc.property(json, (text) => {
      const { bodies } = read(new FrameReader(), [bytesOf(encodeFrame("[", text, "]"))]);
      assert.deepEqual(bodies, [`[${text.toWellFormed()}]`]);
    }),
  );
});

test("FrameReader undoes encodeFrame(), wherever the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(json, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 4 }),
      (bodies, lengths) => {
        const reader = new FrameReader();
        const wellFormed = bodies.map((body) => body.toWellFormed());
        const got = read(reader, cut(framesOf(...bodies), lengths));
        assert.deepEqual(got, { bodies: wellFormed });
        assert.equal(reader.partialBytes, 0);
        reader.end();
      },
    ),
  );
});

test("FrameReader waits at every byte, and tells an end within a frame", () => {
  const bytes = framesOf("12", "345");
  for (let at = 0; at <= bytes.length; at++) {
    const reader = new FrameReader();
    const first = read(reader, [bytes.subarray(0, at)]).bodies;
    const partial = at < 6 ? at : at < 13 ? at - 6 : 0;
    assert.equal(reader.partialBytes, partial);
    if (partial === 0) reader.end();
    else assert.throws(() => reader.end(), { name: "FrameError", code: "FRAME_CUT" });
    assert.deepEqual([...first, ...read(reader, [bytes.subarray(at)]).bodies], ["12", "345"]);
  }
});

test("FrameReader refuses a length that is not allowed as soon as it has come, after the frames before", () => {
  for (const length of [0, MAX_BODY + 1, 2 ** 31, 2 ** 32 - 1]) {
    for (const chunks of [
      [Buffer.concat([framesOf("1"), header(length)])],
      cut(Buffer.concat([framesOf("1"), header(length)]), [1]),
    ]) {
      const { bodies, error } = read(new FrameReader(), chunks);
      assert.deepEqual(bodies, ["1"]);
      assert.ok(error instanceof FrameError);
      assert.equal(error.code, "FRAME_LENGTH");
      assert.match(error.message, new RegExp(`\\b${length} bytes`));
    }
  }
});

test("FrameReader takes memory for what has come, not for what is claimed", () => {
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 64 }, () => new FrameReader());
  for (const reader of readers) {
    assert.deepEqual(read(reader, [header(MAX_BODY), Buffer.alloc(10)]), { bodies: [] });
    assert.equal(reader.partialBytes, 14);
  }
  // 64 KiB each, where 64 MiB are claimed.
  assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 2 ** 20);
});

test("FrameReader takes a body of 64 MiB", () => {
  const body = "x".repeat(MAX_BODY);
  assert.equal(read(new FrameReader(), cut(framesOf(body), [2 ** 20])).bodies[0], body);
  assert.throws(() => encodeFrame("", `${body}x`, ""), RangeError);
  assert.throws(() => encodeFrame("", "€".repeat(MAX_BODY / 3 + 1), ""), RangeError);
});

test("two FrameReaders with a long frame each do not share their memory", () => {
  const bodies = ["a", "b", "c"].map((each) => each.repeat(2 ** 20));
  const sources = bodies.map((body) => ({
    reader: new FrameReader(),
    chunks: [...cut(framesOf(body, body), [65_536])],
    got: [] as string[],
  }));
  for (let i = 0; i < sources[0]!.chunks.length; i++) {
    for (const { reader, chunks, got } of sources) got.push(...read(reader, [chunks[i]!]).bodies);
  }
  assert.deepEqual(
    sources.map(({ got }) => got),
    bodies.map((body) => [body, body]),
  );
});

test("FrameReader refuses what is not UTF-8, and takes U+FFFD that was sent", () => {
  for (const hex of ["80", "c3", "c080", "eda080", "f4908080", "22ff22", "e282"]) {
    const bytes = Buffer.from(hex, "hex");
    const { bodies, error } = read(new FrameReader(), [
      Buffer.concat([framesOf("1"), header(bytes.length), bytes, framesOf("2")]),
    ]);
    assert.deepEqual(bodies, ["1"]);
    assert.equal((error as FrameError).code, "FRAME_UTF8");
  }
  assert.deepEqual(read(new FrameReader(), [framesOf('"\ufffd"')]).bodies, ['"\ufffd"']);
});

test("FrameReader survives random bytes", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 50 }),
      (bytes, isShort, length) => {
        // Else almost every length is refused.
        const all = Buffer.concat([isShort ? Buffer.of(0, 0, 0) : Buffer.of(), bytes]);
        const { bodies, error } = read(new FrameReader(), cut(all, [length]));
        assert.ok(error === undefined || error instanceof FrameError);
        assert.ok(bodies.join("").length <= all.length);
      },
    ),
  );
});
