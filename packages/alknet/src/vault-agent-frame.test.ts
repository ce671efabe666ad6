import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { LengthError } from "@alknet/vault/wire/length-prefixed";
import {
  createFrameReader,
  encodeFrame,
  type Frame,
  MAX_FRAME,
  VaultFrameError,
} from "./vault-agent-frame.ts";

const frame: fc.Arbitrary<Frame> = fc.record(
  {
    header: fc.dictionary(
      fc.string({ maxLength: 10 }).filter((name) => name !== "__proto__"),
      fc.oneof(fc.string(), fc.integer(), fc.boolean()),
      { noNullPrototype: true },
    ),
    bytes: fc.uint8Array({ maxLength: 200 }),
  },
  { noNullPrototype: true },
);

test("a frame comes out as it went in, however it is cut, and is left in no chunk", () => {
  fc.assert(
    fc.property(frame, fc.array(fc.integer({ min: 1, max: 40 })), (sent, cuts) => {
      const bytes = encodeFrame(sent);
      const reader = createFrameReader();
      let at = 0;
      let got: Frame | undefined;
      for (const length of [...cuts, bytes.length]) {
        const chunk = Buffer.from(bytes.subarray(at, at + length));
        at += length;
        if (chunk.length === 0) break;
        assert.equal(got, undefined);
        got = reader.push(chunk);
        assert.ok(chunk.every((byte) => byte === 0));
      }
      assert.deepEqual({ header: got?.header, bytes: got?.bytes }, sent);
    }),
  );
});

test("a length out of bounds is refused before there is memory for it, and on the way out, too", () => {
  for (const length of [0, MAX_FRAME + 1, 0xffff_ffff]) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    assert.throws(() => createFrameReader().push(head), LengthError);
  }
  assert.throws(
    () => encodeFrame({ header: {}, bytes: new Uint8Array(MAX_FRAME) }),
    VaultFrameError,
  );
});

test("push() gives a frame, nothing, or an error of its own, whatever comes", () => {
  const mutated = fc.tuple(frame, fc.nat(), fc.nat(255)).map(([sent, at, byte]) => {
    const bytes = encodeFrame(sent);
    bytes[at % bytes.length] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), mutated), (bytes) => {
      try {
        createFrameReader().push(bytes);
      } catch (error) {
        assert.ok(error instanceof VaultFrameError || error instanceof LengthError);
      }
    }),
    { numRuns: 1_000 },
  );
});
