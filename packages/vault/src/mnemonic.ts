/**
 * BIP39 phrases, English, on bytes from end to end: no word of a phrase ever is a string.
 *
 *     entropy   16, 20, 24, 28 or 32 bytes
 *     phrase    12, 15, 18, 21 or 24 words: entropy and the first bits of its SHA-256, in groups of eleven
 *     seed      64 bytes: PBKDF2-HMAC-SHA512(phrase, "mnemonic" + passphrase, 2048 rounds)
 *
 * @module
 */

import { createHash, createHmac, pbkdf2Sync, randomFillSync } from "node:crypto";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { nearWords } from "./near-words.ts";
import { refuseRedacted } from "./redacted.ts";
import { VaultError } from "./vault-error.ts";
import { secretBytes, secretCopy, wipe } from "./wipe.ts";

/** How long a phrase may be. */
export type WordCount = 12 | 15 | 18 | 21 | 24;

const WORD_COUNTS: readonly number[] = [12, 15, 18, 21, 24];
/** Letters of the longest word of the list. */
const LONGEST_WORD = 8;
/** Beyond this a phrase is nothing that somebody typed, in bytes. */
const LONGEST_PHRASE = 1_024;
const ROUNDS = 2_048;
const SPACE = 0x20;

/** The list, sorted as it comes: eight bytes for each word, zeros behind the shorter ones. */
const WORDS: Uint8Array = Buffer.concat(
  wordlist.map((word) => Buffer.concat([Buffer.from(word)], LONGEST_WORD)),
);

/** Entropy for a new phrase, from the system's generator; the caller's to wipe. */
export function newEntropy(words: WordCount): Uint8Array {
  if (!WORD_COUNTS.includes(words)) throw wrongCount(words);
  return randomFillSync(secretBytes((words / 3) * 4));
}

/**
 * The phrase of `entropy`: lower case, single spaces; the caller's to wipe.
 *
 * @throws {RangeError} if `entropy` has a length that no phrase has.
 */
export function formatMnemonic(entropy: Uint8Array): Uint8Array {
  const words = (entropy.length / 4) * 3;
  if (!WORD_COUNTS.includes(words)) {
    throw new RangeError(
      `cannot make a phrase of ${entropy.length} bytes: expected 16, 20, 24, 28 or 32`,
    );
  }
  const bits = withChecksum(entropy);
  const longest = secretBytes(words * (LONGEST_WORD + 1));
  let length = 0;
  for (let place = 0; place < words; place += 1) {
    if (place > 0) longest[length++] = SPACE;
    const begin = bitsAt(bits, place * 11) * LONGEST_WORD;
    for (let at = begin; at < begin + LONGEST_WORD && WORDS[at] !== 0; at += 1) {
      longest[length++] = WORDS[at]!;
    }
  }
  const phrase = secretCopy(longest.subarray(0, length));
  wipe(bits, longest);
  return phrase;
}

/**
 * The entropy of a phrase, the caller's to wipe.
 *
 * Words may have any white space between and around them, and capital letters.
 *
 * @param phrase ASCII bytes. They are read and left as they are.
 * @throws {VaultError} `MNEMONIC_INVALID`. A word that is not in the list is named, with near ones; no other is.
 */
export function parseMnemonic(phrase: Uint8Array): Uint8Array {
  refuseRedacted(phrase, "a phrase");
  if (phrase.length > LONGEST_PHRASE) {
    throw invalid(`a phrase has at most ${LONGEST_PHRASE} bytes, got ${phrase.length}`);
  }
  const places = wordPlaces(phrase);
  if (!WORD_COUNTS.includes(places.length)) throw wrongCount(places.length);
  const bits = secretBytes(Math.ceil((places.length * 11) / 8));
  const word = secretBytes(LONGEST_WORD);
  let entropy: Uint8Array | undefined;
  try {
    for (const [place, { begin, end }] of places.entries()) {
      const index = wordIndex(phrase.subarray(begin, end), word);
      if (index < 0) throw unknownWord(phrase.subarray(begin, end), place);
      setBits(bits, place * 11, index);
    }
    entropy = secretCopy(bits.subarray(0, (places.length / 3) * 4));
    const expected = withChecksum(entropy);
    const same = Buffer.compare(expected.subarray(0, bits.length), bits) === 0;
    wipe(expected);
    if (same) return entropy;
    throw invalid(
      "each word is in the list, but the checksum is wrong: a word is another one, or two have changed places",
    );
  } catch (error) {
    wipe(entropy);
    throw error;
  } finally {
    wipe(bits, word);
  }
}

/**
 * The 64-byte seed of a phrase, the caller's to wipe. Takes a millisecond, or some eight with a passphrase.
 *
 * @param passphrase UTF-8, BIP39's optional "25th word". One beyond ASCII has to pass through a string (Unicode
 *   NFKD), and strings cannot be wiped.
 * @throws {VaultError} `MNEMONIC_INVALID`.
 */
export function seedFromMnemonic(phrase: Uint8Array, passphrase?: Uint8Array): Uint8Array {
  const entropy = parseMnemonic(phrase);
  // The phrase as it is written: one pass of formatMnemonic() says what case and space are.
  const password = formatMnemonic(entropy);
  wipe(entropy);
  try {
    return stretch(password, passphrase);
  } finally {
    wipe(password);
  }
}

/** PBKDF2-HMAC-SHA512 (RFC 8018 §5.2), one block of 64 bytes. */
function stretch(password: Uint8Array, passphrase: Uint8Array = Buffer.alloc(0)): Uint8Array {
  const prefix = Buffer.from("mnemonic");
  const seed = secretBytes(64);
  if (passphrase.length === 0) {
    const made = pbkdf2Sync(password, prefix, ROUNDS, seed.length, "sha512");
    seed.set(made);
    wipe(made);
    return seed;
  }
  // Round by round: OpenSSL does not wipe its copy of a salt, and here that is the passphrase (measured).
  const normal = normalized(passphrase);
  const salt = secretBytes(prefix.length + normal.length + 4);
  salt.set(prefix);
  salt.set(normal, prefix.length);
  salt[salt.length - 1] = 1;
  let block: Uint8Array = salt;
  for (let round = 0; round < ROUNDS; round += 1) {
    const next = createHmac("sha512", password).update(block).digest();
    wipe(block);
    block = next;
    for (let at = 0; at < seed.length; at += 1) seed[at]! ^= block[at]!;
  }
  wipe(block, normal);
  return seed;
}

/** Unicode NFKD, the caller's to wipe. ASCII is that already. */
function normalized(passphrase: Uint8Array): Uint8Array {
  refuseRedacted(passphrase, "a passphrase");
  if (passphrase.every((byte) => byte < 0x80)) return secretCopy(passphrase);
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(passphrase);
    return Buffer.from(text.normalize("NFKD"));
  } catch {
    // Without its cause, which may quote the bytes.
    throw invalid("the passphrase is not UTF-8");
  }
}

/** Entropy and one byte of SHA-256 behind it: of that, one bit for each four bytes counts, the rest is zero. */
function withChecksum(entropy: Uint8Array): Uint8Array {
  const bits = secretBytes(entropy.length + 1);
  bits.set(entropy);
  const digest = createHash("sha256").update(entropy).digest();
  bits[entropy.length] = digest[0]! & (0xff00 >> (entropy.length / 4));
  wipe(digest);
  return bits;
}

/** Eleven bits from bit `at` on. */
function bitsAt(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let bit = at; bit < at + 11; bit += 1) {
    value = (value << 1) | ((bytes[bit >> 3]! >> (7 - (bit & 7))) & 1);
  }
  return value;
}

function setBits(bytes: Uint8Array, at: number, value: number): void {
  for (let bit = 0; bit < 11; bit += 1) {
    const to = at + bit;
    bytes[to >> 3] = bytes[to >> 3]! | (((value >> (10 - bit)) & 1) << (7 - (to & 7)));
  }
}

/** Where each word begins and ends. */
function wordPlaces(phrase: Uint8Array): readonly { begin: number; end: number }[] {
  const places = [];
  for (let at = 0; at < phrase.length; at += 1) {
    if (isSpace(phrase[at]!)) continue;
    const begin = at;
    while (at < phrase.length && !isSpace(phrase[at]!)) at += 1;
    places.push({ begin, end: at });
  }
  return places;
}

/** Space, tab, line ends. */
function isSpace(byte: number): boolean {
  return byte === SPACE || (byte >= 0x09 && byte <= 0x0d);
}

/** The place of a word in the list, or -1. `scratch` has eight bytes, and is wiped by the caller. */
function wordIndex(typed: Uint8Array, scratch: Uint8Array): number {
  if (typed.length > LONGEST_WORD) return -1;
  scratch.fill(0);
  for (let at = 0; at < typed.length; at += 1) scratch[at] = lowerCase(typed[at]!);
  let low = 0;
  let high = wordlist.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = compareWord(middle, scratch);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return -1;
}

function compareWord(index: number, word: Uint8Array): number {
  for (let at = 0; at < LONGEST_WORD; at += 1) {
    const difference = WORDS[index * LONGEST_WORD + at]! - word[at]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/** A word that is in no list is no part of the secret, so it may be shown: people look for what they mistyped. */
function unknownWord(typed: Uint8Array, place: number): VaultError {
  const text = Buffer.from(typed.subarray(0, 20)).toString("latin1").toLowerCase();
  const near = nearWords(text, wordlist);
  const meant =
    near.length === 0 ? "" : `; did you mean ${near.map((word) => `"${word}"`).join(" or ")}?`;
  return invalid(
    `word ${place + 1}, ${JSON.stringify(text)}, is not in the BIP39 English list${meant}`,
  );
}

function wrongCount(words: number): VaultError {
  return invalid(`expected 12, 15, 18, 21 or 24 words, got ${words}`);
}

function invalid(reason: string): VaultError {
  return new VaultError("MNEMONIC_INVALID", `cannot read phrase: ${reason}`);
}
