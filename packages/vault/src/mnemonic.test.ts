import assert from "node:assert/strict";
import { test } from "node:test";
import { entropyToMnemonic, mnemonicToEntropy, mnemonicToSeedSync } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import * as fc from "fast-check";
import published from "../vectors/bip39-english.json" with { type: "json" };
import { formatMnemonic, newEntropy, parseMnemonic, seedFromMnemonic } from "./mnemonic.ts";

const WORDS = [12, 15, 18, 21, 24] as const;
const INVALID = { name: "VaultError", code: "MNEMONIC_INVALID" };
const bytes = (text: string): Uint8Array => Buffer.from(text);
const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex");
const text = (data: Uint8Array): string => Buffer.from(data).toString();

const entropy = fc
  .constantFrom(16, 20, 24, 28, 32)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));

test("BIP39's published vectors: entropy, phrase, seed", () => {
  assert.equal(published.vectors.length, 24);
  for (const vector of published.vectors) {
    const phrase = bytes(vector.phrase);
    assert.equal(hex(parseMnemonic(phrase)), vector.entropy);
    assert.equal(text(formatMnemonic(Buffer.from(vector.entropy, "hex"))), vector.phrase);
    assert.equal(hex(seedFromMnemonic(phrase, bytes(published.passphrase))), vector.seed);
  }
});

test("formatMnemonic() and parseMnemonic() agree with @scure/bip39 on 1,000 phrases", () => {
  fc.assert(
    fc.property(entropy, (secret) => {
      const phrase = formatMnemonic(secret);
      assert.equal(text(phrase), entropyToMnemonic(secret, wordlist));
      assert.deepEqual(parseMnemonic(phrase), secret);
    }),
    { numRuns: 1_000 },
  );
});

test("parseMnemonic() takes what @scure/bip39 takes, and refuses what it refuses", () => {
  const words = fc
    .constantFrom(...WORDS)
    .chain((count) =>
      fc.array(fc.constantFrom(...wordlist), { minLength: count, maxLength: count }),
    );
  fc.assert(
    fc.property(words, (list) => {
      const phrase = list.join(" ");
      let expected: Uint8Array;
      try {
        expected = mnemonicToEntropy(phrase, wordlist);
      } catch {
        assert.throws(() => parseMnemonic(bytes(phrase)), INVALID);
        return;
      }
      assert.deepEqual(parseMnemonic(bytes(phrase)), Uint8Array.from(expected));
    }),
    { numRuns: 1_000 },
  );
});

test("seedFromMnemonic() agrees with @scure/bip39, with and without a passphrase", () => {
  const passphrase = fc.oneof(
    fc.constantFrom(
      "",
      " ",
      "pass phrase",
      "ｆｕｌｌ",
      "é",
      "e\u0301",
      "㍍ガバヴァぱばぐゞちぢ十人十色",
    ),
    fc.string({ unit: "grapheme" }),
  );
  fc.assert(
    fc.property(entropy, passphrase, (secret, pass) => {
      const phrase = formatMnemonic(secret);
      const theirs = mnemonicToSeedSync(text(phrase), pass);
      assert.equal(hex(seedFromMnemonic(phrase, bytes(pass))), hex(theirs));
    }),
    { numRuns: 30 },
  );
});

test("seedFromMnemonic() without a passphrase is with an empty one", () => {
  const phrase = formatMnemonic(new Uint8Array(16));
  assert.deepEqual(seedFromMnemonic(phrase), seedFromMnemonic(phrase, new Uint8Array()));
});

test("capitals and white space do not change a phrase, nor its seed", () => {
  const phrase = text(formatMnemonic(new Uint8Array(16)));
  const typed = bytes(`\t ${phrase.toUpperCase().replaceAll(" ", "\r\n  ")}\n`);
  assert.deepEqual(parseMnemonic(typed), new Uint8Array(16));
  assert.deepEqual(seedFromMnemonic(typed), seedFromMnemonic(bytes(phrase)));
});

test("a phrase and a passphrase are left as they were", () => {
  const phrase = formatMnemonic(new Uint8Array(16));
  const passphrase = bytes("pass");
  const before = [text(phrase), text(passphrase)];
  seedFromMnemonic(phrase, passphrase);
  assert.deepEqual([text(phrase), text(passphrase)], before);
});

test("newEntropy() has the length of its words, and is never the same", () => {
  for (const count of WORDS) {
    const [one, other] = [newEntropy(count), newEntropy(count)];
    assert.equal(text(formatMnemonic(one)).split(" ").length, count);
    assert.notDeepEqual(one, other);
    assert.equal(one.buffer.byteLength, one.length);
  }
  // @ts-expect-error: no such count
  assert.throws(() => newEntropy(13), INVALID);
  assert.throws(() => formatMnemonic(new Uint8Array(17)), RangeError);
});

test("parseMnemonic() refuses a wrong number of words, and says how many", () => {
  for (const count of [0, 1, 11, 13, 23, 25]) {
    const phrase = bytes(Array.from({ length: count }, () => "zoo").join(" "));
    assert.throws(() => parseMnemonic(phrase), {
      ...INVALID,
      message: new RegExp(`got ${count}$`),
    });
  }
  assert.throws(() => parseMnemonic(new Uint8Array(1_025).fill(0x61)), INVALID);
});

test("parseMnemonic() refuses a wrong checksum", () => {
  assert.throws(() => parseMnemonic(bytes("zoo ".repeat(12))), { ...INVALID, message: /checksum/ });
});

test("parseMnemonic() names the word that is not in the list, near ones, and no other", () => {
  const words = text(formatMnemonic(Buffer.alloc(16, 0xa5))).split(" ");
  const message = messageOf(words.with(4, "abandom").join(" "));
  assert.match(message, /word 5, "abandom", .*did you mean "abandon"/);
  for (const word of words) assert.ok(!message.includes(word), word);
});

test("parseMnemonic() keeps long and odd words short in its message", () => {
  const others = "zoo ".repeat(11);
  for (const word of ["x".repeat(500), "\0\u0007", "zoó", "дом", "abandonabandon"]) {
    const message = messageOf(others + word);
    assert.match(message, /word 12/);
    assert.ok(message.length < 200, message);
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(message, /[\0-\x1f\x7f-\x9f]/);
  }
});

test("parseMnemonic() throws MNEMONIC_INVALID or gives entropy, whatever the bytes", () => {
  const phrase = formatMnemonic(new Uint8Array(32));
  const mutated = fc
    .tuple(fc.nat({ max: phrase.length - 1 }), fc.nat({ max: 255 }), fc.nat({ max: phrase.length }))
    .map(([at, byte, end]) =>
      phrase
        .slice()
        .fill(byte, at, at + 1)
        .subarray(0, end),
    );
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (input) => {
      try {
        assert.ok(parseMnemonic(input).length >= 16);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "MNEMONIC_INVALID");
      }
    }),
    { numRuns: 2_000 },
  );
});

test("seedFromMnemonic() refuses a passphrase that is not UTF-8, without quoting it", () => {
  const phrase = formatMnemonic(new Uint8Array(16));
  const passphrase = Buffer.concat([bytes("secret"), Uint8Array.of(0xff)]);
  assert.throws(
    () => seedFromMnemonic(phrase, passphrase),
    (error: Error) => {
      assert.doesNotMatch(`${error.message}${String(error.cause)}`, /secret/);
      return (error as { code?: unknown }).code === "MNEMONIC_INVALID";
    },
  );
});

function messageOf(phrase: string): string {
  try {
    parseMnemonic(bytes(phrase));
  } catch (error) {
    return (error as Error).message;
  }
  return assert.fail("it was accepted");
}
