import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  ageKeyPath,
  deviceKeyPath,
  encryptionKeyPath,
  formatPath,
  HARDENED,
  IDENTITY_PATH,
  parsePath,
  pkarrKeyPath,
  sshKeyPath,
} from "./derivation-path.ts";

const INVALID = { name: "VaultError", code: "INVALID_PATH" };

test("parsePath() undoes formatPath()", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 2 ** 32 - 1 }), { maxLength: 255 }), (indices) => {
      assert.deepEqual(parsePath(formatPath(indices)), indices);
    }),
  );
});

test("parsePath() takes h for a prime", () => {
  assert.deepEqual(parsePath("m/74h/0/2147483647'"), [HARDENED + 74, 0, 2 ** 32 - 1]);
  assert.deepEqual(parsePath("m"), []);
});

test("parsePath() refuses all else", () => {
  const bad = [
    "",
    "M",
    "m/",
    "/0'",
    "0'",
    "m//0'",
    "m/0'/",
    "m/0''",
    "m/0'h",
    "m/0H",
    "m/'",
    "m/-1'",
    "m/+1'",
    "m/01'",
    "m/1e3'",
    "m/0x1'",
    "m/ 1'",
    "m/1' ",
    "m/1.5'",
    "m/2147483648",
    "m/2147483648'",
    "m/99999999999'",
    "m/١'",
    `m${"/0".repeat(256)}`,
    `m/${"0".repeat(10_000)}`,
  ];
  for (const text of bad) assert.throws(() => parsePath(text), INVALID, text);
});

test("parsePath() throws INVALID_PATH or gives indices, whatever the text", () => {
  const character = fc.constantFrom(..."m/'h0123456789 -x".split(""));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: character })), (text) => {
      try {
        assert.equal(formatPath(parsePath(text)), text.replaceAll("h", "'"));
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "INVALID_PATH");
      }
    }),
  );
});

test("the errors of parsePath() quote no more than the beginning", () => {
  for (const text of ["x".repeat(3_000), `m/${"x".repeat(3_000)}`, "m/\u001b[2J/0'"]) {
    assert.throws(
      () => parsePath(text),
      ({ message }: Error) => message.length < 300 && !message.includes("\u001b"),
    );
  }
});

test("deviceKeyPath(0) is the identity", () => {
  assert.equal(deviceKeyPath(0), IDENTITY_PATH);
  for (const device of [-1, 0.5, 2 ** 31, Number.NaN]) {
    assert.throws(() => deviceKeyPath(device), INVALID);
  }
});

test("encryptionKeyPath() begins at version 2", () => {
  for (const version of [-1, 0, 1, 2.5, 2 ** 31 + 2, Number.NaN]) {
    assert.throws(() => encryptionKeyPath(version), INVALID);
  }
});

test("a named key is called in one way only", () => {
  for (const name of ["", "Work", "-a", ".a", "a b", "a/b", "a'", "ä", "a\n", "x".repeat(64)]) {
    for (const path of [sshKeyPath, ageKeyPath, pkarrKeyPath]) {
      assert.throws(() => path(name), INVALID, JSON.stringify(name));
    }
  }
});

test("names and kinds each give another path", () => {
  const names = ["default", "work", "a", "b", "a.b", "a-b", "a_b", "0"];
  const paths = names.flatMap((name) => [sshKeyPath(name), ageKeyPath(name), pkarrKeyPath(name)]);
  assert.equal(new Set(paths).size, paths.length);
  assert.equal(sshKeyPath(), sshKeyPath("default"));
});
