import assert from "node:assert/strict";
import { test } from "node:test";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { HDKey } from "@scure/bip32";
import * as fc from "fast-check";
import published from "../vectors/slip-0010.json" with { type: "json" };
import { formatPath, parsePath } from "./derivation-path.ts";
import { addModuloOrder, deriveSecp256k1Key, secp256k1PublicKey } from "./secp256k1.ts";

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (value: bigint): Uint8Array =>
  Uint8Array.from(Buffer.from(value.toString(16).padStart(64, "0"), "hex"));

test("deriveSecp256k1Key() gives SLIP-0010's published keys", () => {
  const vectors = published.vectors.filter(({ curve }) => curve === "secp256k1");
  assert.equal(vectors.length, 12);
  for (const { seed, path, privateKey, publicKey } of vectors) {
    const key = deriveSecp256k1Key(Buffer.from(seed, "hex"), parsePath(path));
    assert.equal(hex(key), privateKey, path);
    assert.equal(hex(secp256k1PublicKey(key)), publicKey, path);
  }
});

test("deriveSecp256k1Key() agrees with @scure/bip32 on 1,000 seeds and paths", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 64 }),
      fc.array(fc.nat({ max: 2 ** 32 - 1 }), { maxLength: 5 }),
      (seed, path) => {
        const theirs = HDKey.fromMasterSeed(seed).derive(formatPath(path));
        assert.equal(hex(deriveSecp256k1Key(seed, path)), hex(theirs.privateKey!));
      },
    ),
    { numRuns: 1_000 },
  );
});

test("secp256k1PublicKey() agrees with @noble/curves", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: ORDER - 1n }), (scalar) => {
      assert.equal(
        hex(secp256k1PublicKey(bytes(scalar))),
        hex(secp256k1.getPublicKey(bytes(scalar))),
      );
    }),
    { examples: [[1n], [ORDER - 1n]] },
  );
});

test("addModuloOrder() adds modulo the order, at its edges too", () => {
  const edge = fc.constantFrom(0n, 1n, 2n, ORDER / 2n, ORDER / 2n + 1n, ORDER - 2n, ORDER - 1n);
  const scalar = fc.oneof(edge, fc.bigInt({ min: 0n, max: ORDER - 1n }));
  fc.assert(
    fc.property(scalar, scalar, (one, other) => {
      const sum = bytes(one);
      addModuloOrder(sum, bytes(other));
      assert.equal(hex(sum), hex(bytes((one + other) % ORDER)));
    }),
    { numRuns: 1_000 },
  );
});
