import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { decodeBase32, encodeBase32 } from "./base32.ts";

test("decodeBase32() undoes encodeBase32(), and agrees with RFC 4648 §10", () => {
  const vectors = {
    "": "",
    f: "my",
    fo: "mzxq",
    foo: "mzxw6",
    foob: "mzxw6yq",
    fooba: "mzxw6ytb",
    foobar: "mzxw6ytboi",
  };
  for (const [text, encoded] of Object.entries(vectors))
    assert.equal(encodeBase32(Buffer.from(text)), encoded);
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.deepEqual(decodeBase32(encodeBase32(bytes)), bytes);
    }),
  );
  for (const text of ["a", "aaa", "aaaaaa", "mz", "MY", "my======", "m1", "🦊"])
    assert.equal(decodeBase32(text), undefined, text);
});
