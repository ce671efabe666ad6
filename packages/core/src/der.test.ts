import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { readElement, readElements, writeElement } from "./der.ts";

test("readElement() undoes writeElement()", () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 65_500, max: 65_600 }).map((length) => new Uint8Array(length).fill(7)),
  );
  fc.assert(
    fc.property(fc.constantFrom(0x02, 0x30, 0xa3, 0x81), content, (tag, bytes) => {
      const element = writeElement(tag, bytes.subarray(0, 1), bytes.subarray(1));
      assert.deepEqual(readElement(element, 0), { tag, content: bytes, whole: element });
      for (const length of [0, 1, element.length >> 1, element.length - 1]) {
        assert.throws(() => readElement(element.subarray(0, length), 0), RangeError);
      }
    }),
  );
});

test("readElement() takes one encoding of a length only", () => {
  const fails = (bytes: number[], message: RegExp): void => {
    assert.throws(() => readElement(Uint8Array.from(bytes), 0), { name: "RangeError", message });
  };
  fails([0x30, 0x80, 0, 0], /definite length/); // indefinite
  fails([0x30, 0x81, 0x01, 0], /not the shortest/);
  fails([0x30, 0x82, 0x00, 0x80, ...Array.from({ length: 128 }, () => 0)], /not the shortest/);
  fails([0x30, 0x85, 1, 0, 0, 0, 0], /at most 4 bytes/);
  fails([0x30, 0x84, 0xff, 0xff, 0xff, 0xff], /4294967295 bytes are missing/);
  fails([0x30, 0x82, 0x01], /cut off/);
  fails([0x3f, 0x22, 0x00], /tag of one byte/);
  fails([0x30], /tag and a length/);
});

test("readElements() reads to the end, and no more than its limit", () => {
  const three = Uint8Array.of(2, 1, 1, 2, 1, 2, 2, 1, 3);
  assert.deepEqual(
    readElements(three, 3).map(({ content }) => content[0]),
    [1, 2, 3],
  );
  assert.throws(() => readElements(three, 2), /at most 2 elements/);
  assert.throws(() => readElements(three.subarray(0, 8), 3), /1 bytes are missing/);
});
