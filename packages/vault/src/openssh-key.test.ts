import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { getKeys } from "micro-key-producer/ssh.js";
import { ed25519PublicKey } from "./derived-key.ts";
import {
  MAX_COMMENT,
  opensshPrivateKeyFile,
  sshFingerprint,
  sshPublicKeyBlob,
  sshPublicKeyLine,
} from "./openssh-key.ts";

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
const comments = fc.stringMatching(/^[\p{L}\p{N} @._-]{0,40}$/u).map((text) => text.trim());

test("key files, lines and fingerprints are those of micro-key-producer", () => {
  fc.assert(
    fc.property(seeds, comments, (seed, comment) => {
      const publicKey = ed25519PublicKey(seed);
      const theirs = getKeys(seed, comment, publicKey.subarray(0, 4));
      const file = Buffer.from(opensshPrivateKeyFile(seed, publicKey, comment));
      // Theirs has an empty line after the first, as PGP's armour has.
      assert.equal(file.toString().trimEnd(), theirs.privateKey.replace("\n\n", "\n").trimEnd());
      assert.equal(sshPublicKeyLine(publicKey, comment), theirs.publicKey);
      assert.equal(sshFingerprint(publicKey), theirs.fingerprint);
    }),
  );
});

test("a public key goes as its type and 32 bytes", () => {
  const publicKey = new Uint8Array(32).fill(7);
  assert.deepEqual(
    Buffer.from(sshPublicKeyBlob(publicKey)),
    Buffer.concat([Buffer.from("\0\0\0\x0bssh-ed25519\0\0\0\x20"), publicKey]),
  );
});

test("what is no key, and a comment that would be another line, is refused", () => {
  const key = new Uint8Array(32);
  for (const comment of ["two\nlines", "a\rb", "nul\0", "\x9b", "x".repeat(MAX_COMMENT + 1)]) {
    assert.throws(() => sshPublicKeyLine(key, comment), RangeError);
    assert.throws(() => opensshPrivateKeyFile(key, key, comment), RangeError);
  }
  for (const length of [0, 31, 33, 64]) {
    assert.throws(() => sshPublicKeyBlob(new Uint8Array(length)), RangeError);
    assert.throws(() => opensshPrivateKeyFile(new Uint8Array(length), key, ""), RangeError);
  }
});
