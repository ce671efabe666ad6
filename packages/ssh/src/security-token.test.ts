import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import { parseSshPublicKey, type SshPublicKey } from "@alknet/core/ssh-public-key";
import * as fc from "fast-check";
import { isSignedByToken, isTokenKey } from "./security-token.ts";

const DATA = Buffer.from("what is signed");

for (const type of ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"]) {
  test(`isSignedByToken() takes what a token has signed that was touched, and nothing else: ${type}`, () => {
    // Of P-256 half of the numbers begin with a zero byte, and one of 256 is shorter.
    for (let round = 0; round < 64; round++) {
      const { key, signs } = makeToken(type);
      assert.ok(isTokenKey(key));
      assert.match(key.fingerprint, /^SHA256:/);
      assert.equal(isSignedByToken(key, DATA, signs(DATA, 0x01)), true);
      assert.equal(isSignedByToken(key, DATA, signs(DATA, 0x05)), true);
      assert.equal(isSignedByToken(key, DATA, signs(DATA, 0x04)), false);
      assert.equal(isSignedByToken(key, Buffer.from("another"), signs(DATA, 0x01)), false);
      assert.equal(isSignedByToken(makeToken(type).key, DATA, signs(DATA, 0x01)), false);
    }
  });

  test(`isSignedByToken() takes no signature that was changed or cut: ${type}`, () => {
    const { key, signs } = makeToken(type);
    const good = signs(DATA, 0x01);
    fc.assert(
      fc.property(
        fc.nat({ max: good.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, change) => {
          const changed = Buffer.from(good);
          changed.writeUInt8(changed.readUInt8(at) ^ change, at);
          assert.equal(isSignedByToken(key, DATA, changed), false);
          assert.equal(isSignedByToken(key, DATA, good.subarray(0, at)), false);
        },
      ),
    );
    fc.assert(fc.property(fc.uint8Array(), (any) => !isSignedByToken(key, DATA, any)));
    fc.assert(
      fc.property(fc.uint8Array(), (any) => {
        return !isSignedByToken({ ...key, blob: any }, DATA, good);
      }),
    );
  });
}

/** PROTOCOL.u2f: what a token signs, and how that is written. */
function makeToken(type: string): {
  key: SshPublicKey;
  signs: (data: Uint8Array, flags: number) => Buffer;
} {
  const isEd25519 = type.startsWith("sk-ssh-ed25519");
  const pair = isEd25519
    ? generateKeyPairSync("ed25519")
    : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const fields = isEd25519
    ? [pair.publicKey.export({ format: "raw-public" })]
    : [Buffer.from("nistp256"), pointOf(pair.publicKey)];
  const blob = Buffer.concat([Buffer.from(type), ...fields, Buffer.from("ssh:")].map(string));
  return {
    key: parseSshPublicKey(`${type} ${blob.toString("base64")}`),
    signs(data, flags) {
      const tail = Buffer.from([flags, 0, 0, 1, 7]);
      const signed = Buffer.concat([hash(Buffer.from("ssh:")), tail, hash(data)]);
      if (isEd25519) return Buffer.concat([sign(null, signed, pair.privateKey), tail]);
      const key = { key: pair.privateKey, dsaEncoding: "ieee-p1363" } as const;
      const raw = sign("sha256", signed, key);
      const numbers = [raw.subarray(0, 32), raw.subarray(32)].map((each) => string(mpint(each)));
      return Buffer.concat([...numbers, tail]);
    },
  };
}

function pointOf(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "spki" }).subarray(-65);
}

/** RFC 4251 §5. */
function mpint(bytes: Buffer): Buffer {
  const digits = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return digits.readUInt8(0) < 0x80 ? digits : Buffer.concat([Buffer.from([0]), digits]);
}

function string(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function hash(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}
