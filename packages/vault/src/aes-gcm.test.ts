import assert from "node:assert/strict";
import { test } from "node:test";
import wycheproof from "../vectors/aes-256-gcm.json" with { type: "json" };
import { openAesGcm, sealAesGcm } from "./aes-gcm.ts";

const unhex = (text: string): Uint8Array => Buffer.from(text, "hex");

test("Wycheproof's vectors: sealAesGcm() makes them, openAesGcm() opens the valid ones only", () => {
  assert.equal(wycheproof.vectors.length, 66);
  for (const { id, key, iv, aad, plaintext, data, valid } of wycheproof.vectors) {
    const opened = openAesGcm(unhex(key), unhex(iv), unhex(data), unhex(aad));
    assert.equal(
      opened && Buffer.from(opened).toString("hex"),
      valid ? plaintext : undefined,
      `${id}`,
    );
    const sealed = sealAesGcm(unhex(key), unhex(iv), unhex(plaintext), unhex(aad));
    assert.equal(Buffer.from(sealed).equals(unhex(data)), valid, `${id}`);
  }
});

test("openAesGcm() takes no tag but one of 16 bytes, and no iv but one of 12", () => {
  const [key, iv] = [new Uint8Array(32), new Uint8Array(12)];
  const sealed = sealAesGcm(key, iv, new Uint8Array());
  for (let length = 0; length < 16; length += 1) {
    assert.equal(openAesGcm(key, iv, sealed.subarray(0, length)), undefined);
  }
  assert.equal(openAesGcm(key, new Uint8Array(11), sealed), undefined);
  assert.deepEqual(openAesGcm(key, iv, sealed), new Uint8Array());
});

test("openAesGcm() gives plaintext in memory of its own", () => {
  const [key, iv] = [new Uint8Array(32), new Uint8Array(12)];
  for (const length of [0, 1, 100, 65_536]) {
    const opened = openAesGcm(key, iv, sealAesGcm(key, iv, new Uint8Array(length)));
    assert.equal(opened?.buffer.byteLength, length);
  }
});
