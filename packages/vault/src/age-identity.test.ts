import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ageIdentity, ageIdentityFile, ageRecipient } from "./age-identity.ts";

const ascii = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** From the tests of age itself: the scalar is 32 times 0x42. */
const PUBLISHED = {
  secret: new Uint8Array(32).fill(0x42),
  identity: "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
  recipient: "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
};

test("identity and recipient of age's own test key", () => {
  assert.equal(ascii(ageIdentity(PUBLISHED.secret)), PUBLISHED.identity);
  assert.equal(ageRecipient(PUBLISHED.secret), PUBLISHED.recipient);
});

test("ageIdentityFile() has the recipient in a comment, and the identity", () => {
  assert.equal(
    ascii(ageIdentityFile(PUBLISHED.secret)),
    `# public key: ${PUBLISHED.recipient}\n${PUBLISHED.identity}\n`,
  );
});

test("every identity reads back as its bytes, and its checksum is right", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (secret) => {
      const text = ascii(ageIdentity(secret)).toLowerCase();
      assert.deepEqual(bech32Bytes(text, "age-secret-key-"), Buffer.from(secret));
    }),
  );
});

test("other lengths than 32 bytes are refused", () => {
  for (const length of [0, 31, 33]) {
    assert.throws(() => ageIdentity(new Uint8Array(length)), RangeError);
    assert.throws(() => ageRecipient(new Uint8Array(length)), RangeError);
  }
});

/** A decoder written from BIP-173, with bits as text. */
function bech32Bytes(text: string, prefix: string): Buffer {
  assert.ok(text.startsWith(`${prefix}1`));
  const values = Array.from(text.slice(prefix.length + 1), (character) => {
    return "qpzry9x8gf2tvdw0s3jn54khce6mua7l".indexOf(character);
  });
  const codes = [...Buffer.from(prefix)];
  const expanded = [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
  let checksum = 1n;
  for (const value of [...expanded, ...values]) {
    const top = checksum >> 25n;
    checksum = ((checksum & 0x1ffffffn) << 5n) ^ BigInt(value);
    const generators = [0x3b6a57b2n, 0x26508e6dn, 0x1ea119fan, 0x3d4233ddn, 0x2a1462b3n];
    for (const [bit, generator] of generators.entries()) {
      if ((top >> BigInt(bit)) & 1n) checksum ^= generator;
    }
  }
  assert.equal(checksum, 1n);
  const bits = values
    .slice(0, -6)
    .map((value) => value.toString(2).padStart(5, "0"))
    .join("");
  const bytes = bits.slice(0, 256).match(/.{8}/g) ?? [];
  assert.match(bits.slice(256), /^0*$/);
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)));
}
