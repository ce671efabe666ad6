import assert from "node:assert/strict";
import { test } from "node:test";
import { secretBytes, secretCopy, wipe } from "./wipe.ts";

test("secretBytes() has a buffer of its own, of just that length", () => {
  for (const length of [0, 1, 32, 64, 4_096]) {
    const bytes = secretBytes(length);
    assert.equal(bytes.byteOffset, 0);
    assert.equal(bytes.buffer.byteLength, length);
  }
});

test("secretCopy() copies; wipe() clears the copy and leaves the original", () => {
  const original = Buffer.from("secret");
  const copy = secretCopy(original);
  assert.deepEqual(Buffer.from(copy), original);
  wipe(copy, undefined);
  wipe(copy);
  assert.deepEqual(copy, new Uint8Array(6));
  assert.equal(original.toString(), "secret");
});
