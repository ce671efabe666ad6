import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import wycheproof from "../vectors/aes-256-gcm.json" with { type: "json" };
import { openAesGcm, openBulkAesGcm, sealAesGcm } from "./aes-gcm.ts";

const bytes = fc.uint8Array({ maxLength: 300 });
const key = randomBytes(32);
const iv = randomBytes(12);

for (const open of [openAesGcm, openBulkAesGcm]) {
  test(`${open.name}() undoes sealAesGcm(), which writes ciphertext and tag`, () => {
    fc.assert(
      fc.property(bytes, fc.option(bytes, { nil: undefined }), (plaintext, additional) => {
        const sealed = sealAesGcm(key, iv, plaintext, additional);
        const cipher = createCipheriv("aes-256-gcm", key, iv);
        if (additional !== undefined) cipher.setAAD(additional);
        const parts = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
        assert.deepEqual(Buffer.from(sealed), Buffer.concat(parts));
        assert.deepEqual(open(key, iv, sealed, additional), plaintext);
      }),
    );
  });

  test(`what ${open.name}() returns is in memory of its own`, () => {
    const opened = open(key, iv, sealAesGcm(key, iv, Buffer.from("secret")));
    assert.equal(opened?.buffer.byteLength, 6);
  });

  test(`one changed bit anywhere, and ${open.name}() gives nothing`, () => {
    const additional = Buffer.from("context");
    const sealed = sealAesGcm(key, iv, Buffer.from("secret"), additional);
    const all = [Buffer.from(key), Buffer.from(iv), sealed, additional] as const;
    const opened = (): Uint8Array | undefined => open(...all);
    for (const part of all) {
      for (let bit = 0; bit < part.length * 8; bit++) {
        part[bit >>> 3]! ^= 1 << (bit & 7);
        assert.equal(opened(), undefined);
        part[bit >>> 3]! ^= 1 << (bit & 7);
      }
    }
    assert.ok(opened() !== undefined);
  });

  test(`what is cut, and an iv of another length, does not open with ${open.name}()`, () => {
    const sealed = sealAesGcm(key, iv, Buffer.from("secret"));
    for (let length = 0; length < sealed.length; length++) {
      assert.equal(open(key, iv, sealed.subarray(0, length)), undefined);
    }
    for (const length of [0, 11, 13]) {
      assert.equal(open(key, new Uint8Array(length), sealed), undefined);
    }
  });
}

test("Wycheproof's vectors: sealAesGcm() makes the valid ones, and only those open", () => {
  assert.equal(wycheproof.vectors.length, 66);
  const unhex = (text: string): Uint8Array => Buffer.from(text, "hex");
  for (const { id, plaintext, data, valid, ...vector } of wycheproof.vectors) {
    const [secret, nonce, aad] = [unhex(vector.key), unhex(vector.iv), unhex(vector.aad)];
    const sealed = Buffer.from(sealAesGcm(secret, nonce, unhex(plaintext), aad));
    assert.equal(sealed.toString("hex") === data, valid, `${id}`);
    for (const open of [openAesGcm, openBulkAesGcm]) {
      const opened = open(secret, nonce, unhex(data), aad);
      const text = opened && Buffer.from(opened).toString("hex");
      assert.equal(text, valid ? plaintext : undefined, `${open.name} ${id}`);
    }
  }
});

test("openAesGcm() leaves nothing by which its mask could be taken off", (t) => {
  const sealed = sealAesGcm(key, iv, randomBytes(64));
  // Looked at only: it works as ever.
  const decipher = Object.getPrototypeOf(createDecipheriv("aes-256-ctr", key, randomBytes(16))) as {
    update(data: Uint8Array): Buffer;
  };
  const update = t.mock.method(decipher, "update");
  openAesGcm(key, iv, sealed);
  const [opened] = update.mock.calls;
  const passed = [opened!.arguments[0], opened!.result!];
  assert.deepEqual(
    passed.map((bytes) => bytes.every((byte) => byte === 0)),
    [true, true],
  );
});
