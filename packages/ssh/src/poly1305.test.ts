import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { MAX_MESSAGE, poly1305 } from "./poly1305.ts";

test("poly1305() makes the tags of RFC 8439", () => {
  for (const [key, message, tag] of VECTORS) {
    const data = Buffer.from(message, "hex");
    assert.equal(poly1305(Buffer.from(key, "hex"), data).toString("hex"), tag);
  }
});

test("poly1305() agrees with OpenSSL's, which has it within an AEAD", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(bytes(32), bytes(12), fc.uint8Array({ maxLength: 5_000 }), (key, nonce, text) => {
      const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
      const sealed = cipher.update(text);
      cipher.final();
      // RFC 8439 §2.8: the key of the tag is the first block's, and the lengths come last.
      const zeros = Buffer.alloc(64);
      const first = createCipheriv("chacha20", key, Buffer.concat([Buffer.alloc(4), nonce]));
      const padding = Buffer.alloc((16 - (text.length % 16)) % 16);
      const lengths = Buffer.alloc(16);
      lengths.writeUInt32LE(text.length, 8);
      const message = Buffer.concat([sealed, padding, lengths]);
      const tag = poly1305(first.update(zeros).subarray(0, 32), message);
      assert.deepEqual(Buffer.from(tag), cipher.getAuthTag());
    }),
  );
});

test("poly1305() reduces sums at the edges of the prime as BigInt does", () => {
  const edge = fc.constantFrom(0x00, 0x01, 0x03, 0x04, 0x05, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xff);
  const edges = (min: number, max: number) =>
    fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant(0xff) }, edge), {
      minLength: min,
      maxLength: max,
    });
  fc.assert(
    fc.property(edges(32, 32), edges(0, 100), (key, message) => {
      const [secret, data] = [Buffer.from(key), Buffer.from(message)];
      assert.equal(poly1305(secret, data).toString("hex"), plainly(secret, data));
    }),
    { numRuns: 1_000 },
  );
});

test("poly1305() takes no key of another length, and no message that it has no room for", () => {
  assert.throws(() => poly1305(Buffer.alloc(31), Buffer.alloc(1)), RangeError);
  assert.throws(() => poly1305(Buffer.alloc(32), Buffer.alloc(MAX_MESSAGE + 1)), RangeError);
  poly1305(Buffer.alloc(32), Buffer.alloc(MAX_MESSAGE));
});

/** RFC 8439 §2.5.1, as it is written there. */
function plainly(key: Buffer, message: Buffer): string {
  const number = (bytes: Uint8Array): bigint =>
    BigInt(`0x0${Buffer.from(bytes).reverse().toString("hex")}`);
  const r = number(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let sum = 0n;
  for (let from = 0; from < message.length; from += 16) {
    const block = Buffer.concat([message.subarray(from, from + 16), Buffer.of(1)]);
    sum = ((sum + number(block)) * r) % (2n ** 130n - 5n);
  }
  const tag = (sum + number(key.subarray(16))) % 2n ** 128n;
  return Buffer.from(tag.toString(16).padStart(32, "0"), "hex").reverse().toString("hex");
}

/** Key, message and tag: RFC 8439 §2.5.2, and those of appendix A.3 where carries go wrong. */
const VECTORS: readonly (readonly [string, string, string])[] = [
  [
    "85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b",
    "43727970746f6772617068696320466f72756d2052657365617263682047726f7570",
    "a8061dc1305136c6c22b8baf0c0127a9",
  ],
  [`${"00".repeat(32)}`, "00".repeat(64), "00".repeat(16)],
  [`02${"00".repeat(31)}`, "ff".repeat(16), `03${"00".repeat(15)}`],
  [`02${"00".repeat(15)}${"ff".repeat(16)}`, `02${"00".repeat(15)}`, `03${"00".repeat(15)}`],
  [
    `01${"00".repeat(31)}`,
    `${"ff".repeat(16)}f0${"ff".repeat(15)}11${"00".repeat(15)}`,
    `05${"00".repeat(15)}`,
  ],
  [
    `01${"00".repeat(31)}`,
    `${"ff".repeat(16)}fb${"fe".repeat(15)}${"01".repeat(16)}`,
    "00".repeat(16),
  ],
  [`02${"00".repeat(31)}`, `fd${"ff".repeat(15)}`, `fa${"ff".repeat(15)}`],
];
