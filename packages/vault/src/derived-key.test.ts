import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import published from "../vectors/ed25519.json" with { type: "json" };
import { DerivedKey, ed25519PublicKey } from "./derived-key.ts";
import { secp256k1PublicKey } from "./secp256k1.ts";

const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function ed25519(privateKey: Uint8Array): DerivedKey {
  return new DerivedKey("ed25519", "m", privateKey, ed25519PublicKey(privateKey));
}

test("RFC 8032's vectors: public keys and signatures", () => {
  assert.equal(published.vectors.length, 4);
  for (const { privateKey, publicKey, message, signature } of published.vectors) {
    using key = ed25519(unhex(privateKey));
    assert.equal(hex(key.publicKey), publicKey);
    assert.equal(hex(key.sign(unhex(message))), signature);
  }
});

test("keyObject() signs with the key whose public part the vault reports", () => {
  using key = ed25519(new Uint8Array(32).fill(7));
  const publicKey = createPublicKey(key.keyObject());
  assert.deepEqual(publicKey.export({ format: "raw-public" }), Buffer.from(key.publicKey));
  assert.ok(verify(null, Buffer.from("hello"), publicKey, key.sign(Buffer.from("hello"))));
  assert.equal(key.keyObject(), key.keyObject());
});

test("dispose wipes the private key, and then nothing signs with it", () => {
  const key = ed25519(new Uint8Array(32).fill(7));
  const { privateKey } = key;
  key.keyObject();
  key[Symbol.dispose]();
  key[Symbol.dispose]();
  assert.deepEqual(privateKey, new Uint8Array(32));
  for (const use of [() => key.privateKey, () => key.sign(privateKey), () => key.keyObject()]) {
    assert.throws(use, { name: "VaultError", code: "KEY_DISPOSED" });
  }
});

test("a secp256k1 key does not sign", () => {
  const privateKey = new Uint8Array(32).fill(7);
  using key = new DerivedKey("secp256k1", "m", privateKey, secp256k1PublicKey(privateKey));
  assert.throws(() => key.sign(privateKey), { code: "UNSUPPORTED_KEY_TYPE" });
  assert.throws(() => key.keyObject(), { code: "UNSUPPORTED_KEY_TYPE" });
});

test("a key shows its public part and [REDACTED]", () => {
  using key = ed25519(new Uint8Array(32).fill(0xab));
  const shown = {
    keyType: "ed25519",
    path: "m",
    publicKey: hex(key.publicKey),
    privateKey: "[REDACTED]",
  };
  assert.deepEqual(JSON.parse(JSON.stringify(key)), shown);
  assert.equal(String(key as unknown), JSON.stringify(shown));
  assert.equal(inspect(key), inspect(shown));
});
