import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import vectors from "../vectors/encrypted-data.json" with { type: "json" };
import {
  CURRENT_KEY_VERSION,
  encryptedDataToJson,
  MAX_KEY_VERSION,
  MAX_PLAINTEXT,
  parseEncryptedData,
} from "./encrypted-data.ts";

const INVALID = { name: "VaultError", code: "ENCRYPTED_DATA_INVALID" };
const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength });
const sealed = fc.record({
  key_version: fc.integer({ min: 1, max: MAX_KEY_VERSION }),
  salt: bytes(32),
  iv: bytes(12),
  data: bytes(16, 200),
});

test("the current version is 2", () => {
  assert.equal(CURRENT_KEY_VERSION, 2);
});

test("parseEncryptedData() undoes encryptedDataToJson(), through JSON", () => {
  fc.assert(
    fc.property(sealed, (data) => {
      const json = JSON.parse(JSON.stringify(encryptedDataToJson(data))) as unknown;
      assert.deepEqual(parseEncryptedData(json), { ...data });
    }),
  );
});

test("parseEncryptedData() takes the vectors that are well-formed, and leaves them as they are", () => {
  for (const { sealed: json } of [...vectors.opens, ...vectors.refused]) {
    assert.deepEqual(encryptedDataToJson(parseEncryptedData(json)), json);
  }
});

test("parseEncryptedData() refuses the vectors that are malformed", () => {
  for (const { why, sealed: json } of vectors.malformed) {
    const code = why === "the marker" ? "REDACTED_INPUT" : "ENCRYPTED_DATA_INVALID";
    assert.throws(() => parseEncryptedData(json), { code }, why);
  }
});

test("parseEncryptedData() refuses too much before it decodes it", () => {
  const [{ sealed: json }] = vectors.opens as [(typeof vectors.opens)[number]];
  const long = "A".repeat(Math.ceil((MAX_PLAINTEXT + 17) / 3) * 4 + 4);
  for (const key of ["salt", "iv", "data"]) {
    assert.throws(() => parseEncryptedData({ ...json, [key]: long }), INVALID, key);
  }
});

test("parseEncryptedData() throws its own errors only, and quotes no value, whatever it is given", () => {
  const value = fc.oneof(fc.jsonValue(), fc.base64String());
  const nearly = fc.record(
    { key_version: fc.oneof(fc.constant(2), value), salt: value, iv: value, data: value },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), nearly), (json) => {
      try {
        parseEncryptedData(json);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "ENCRYPTED_DATA_INVALID");
        assert.ok((error as Error).message.length < 120);
      }
    }),
  );
});
