import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBase64Bytes, encodeBase64Bytes } from "./base64-bytes.ts";

test("encodeBase64Bytes() writes what Buffer writes, and decodeBase64Bytes() undoes it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = encodeBase64Bytes(bytes);
      assert.equal(Buffer.from(text).toString("latin1"), Buffer.from(bytes).toString("base64"));
      assert.deepEqual(decodeBase64Bytes(text), bytes);
    }),
  );
});

test("decodeBase64Bytes() takes only the one text that bytes have", () => {
  const character = fc.constantFrom(..."AQgwz09+/=-_ \n\0é".split(""));
  const nearly = fc
    .array(character, { maxLength: 12 })
    .map((all) => Buffer.from(all.join(""), "latin1"));
  fc.assert(
    fc.property(fc.oneof(nearly, fc.uint8Array({ maxLength: 12 })), (text) => {
      const bytes = decodeBase64Bytes(text);
      const written = Buffer.from(text).toString("latin1");
      const expected = Buffer.from(written, "base64");
      if (expected.toString("base64") === written)
        assert.deepEqual(bytes, new Uint8Array(expected));
      else assert.equal(bytes, undefined);
    }),
    { numRuns: 2_000 },
  );
});
