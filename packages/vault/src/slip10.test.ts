import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { HDKey } from "micro-key-producer/slip10.js";
import published from "../vectors/slip-0010.json" with { type: "json" };
import { formatPath, HARDENED, parsePath } from "./derivation-path.ts";
import { ed25519PublicKey } from "./derived-key.ts";
import { deriveEd25519Seed } from "./slip10.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("deriveEd25519Seed() gives SLIP-0010's published keys", () => {
  const vectors = published.vectors.filter(({ curve }) => curve === "ed25519");
  assert.equal(vectors.length, 12);
  for (const { seed, path, privateKey, publicKey } of vectors) {
    const key = deriveEd25519Seed(Buffer.from(seed, "hex"), parsePath(path));
    assert.equal(hex(key), privateKey, path);
    assert.equal(hex(ed25519PublicKey(key)), publicKey, path);
  }
});

test("deriveEd25519Seed() agrees with micro-key-producer on 1,000 seeds and paths", () => {
  const index = fc.integer({ min: HARDENED, max: 2 ** 32 - 1 });
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 64 }),
      fc.array(index, { maxLength: 6 }),
      (seed, path) => {
        const theirs = HDKey.fromMasterSeed(seed).derive(formatPath(path));
        const key = deriveEd25519Seed(seed, path);
        assert.equal(hex(key), hex(theirs.privateKey));
        assert.equal(hex(ed25519PublicKey(key)), hex(theirs.publicKeyRaw));
      },
    ),
    { numRuns: 1_000 },
  );
});

test("deriveEd25519Seed() refuses an index that is not hardened, wherever it is", () => {
  const seed = new Uint8Array(64);
  for (const path of ["m/0", "m/0/0'", "m/74'/0'/0'/0", "m/44'/60'/0'/0/0"]) {
    assert.throws(() => deriveEd25519Seed(seed, parsePath(path)), { code: "INVALID_PATH" }, path);
  }
});

test("deriveEd25519Seed() refuses seeds that are too short or too long", () => {
  for (const length of [0, 15, 65]) {
    assert.throws(() => deriveEd25519Seed(new Uint8Array(length), []), {
      code: "DERIVATION_FAILED",
    });
  }
});
