import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeZBase32, pkarrPublicKey, pkarrSecretKey } from "./pkarr-key.ts";

test("z-base-32 as its specification writes whole bytes", () => {
  const vectors = [
    ["f0bfc7", "6n9hq"],
    ["d47a04", "4t7ye"],
    ["", ""],
  ] as const;
  for (const [hex, text] of vectors) assert.equal(encodeZBase32(Buffer.from(hex, "hex")), text);
});

test("pkarrPublicKey() of a key from the tests of the pkarr crate", () => {
  const key = Uint8Array.of(
    ...[1, 180, 103, 163, 183, 145, 58, 178, 122, 4, 168, 237, 242, 243, 251, 7],
    ...[76, 254, 14, 207, 75, 171, 225, 8, 214, 123, 227, 133, 59, 15, 38, 197],
  );
  assert.equal(pkarrPublicKey(key), "yg4gxe7z1r7mr6orids9fh95y7gxhdsxjqi6nngsxxtakqaxr5no");
});

test("encodeZBase32() undone by hand gives the bytes again", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const bits = encodeZBase32(bytes)
        .split("")
        .map((character) => "ybndrfg8ejkmcpqxot1uwisza345h769".indexOf(character))
        .map((value) => value.toString(2).padStart(5, "0"))
        .join("");
      const whole = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
      assert.equal(bits, whole.padEnd(bits.length, "0"));
      assert.ok(bits.length - whole.length < 5);
    }),
  );
});

test("pkarrSecretKey() is the seed in hex", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
      const text = Buffer.from(pkarrSecretKey(seed)).toString("latin1");
      assert.equal(text, Buffer.from(seed).toString("hex"));
    }),
  );
});

test("other lengths than 32 bytes are refused", () => {
  for (const length of [0, 31, 33]) {
    assert.throws(() => pkarrPublicKey(new Uint8Array(length)), RangeError);
    assert.throws(() => pkarrSecretKey(new Uint8Array(length)), RangeError);
  }
});
