/**
 * Real age encrypts to the recipients of a vault, and decrypts with the identities that it exports.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ageIdentity, ageIdentityFile, ageRecipient } from "@alknet/vault/age-identity";
import { ageKeyPath } from "@alknet/vault/derivation-path";
import { createVault } from "@alknet/vault/vault";

const PHRASE = Buffer.from(`${"abandon ".repeat(11)}about`);

/** The secrets of the named identities `names` of the vault of {@linkcode PHRASE}. */
function secrets(names: readonly string[]): Uint8Array[] {
  using vault = createVault();
  vault.unlock(PHRASE);
  return names.map((name) => vault.derivePrivate32(ageKeyPath(name)));
}

/** The path of a file that holds `content`. */
function written(t: TestContext, content: Uint8Array): string {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-age-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const path = join(folder, "file");
  fs.writeFileSync(path, content, { mode: 0o600 });
  return path;
}

test("what age encrypts to a recipient of the vault, age decrypts with the exported identity", (t) => {
  const [secret = assert.fail(), other = assert.fail()] = secrets(["default", "other"]);
  const plain = randomBytes(200_000);
  const sealed = execFileSync("age", ["-r", ageRecipient(secret)], { input: plain });
  const path = written(t, ageIdentityFile(secret));
  assert.deepEqual(execFileSync("age", ["-d", "-i", path], { input: sealed }), plain);
  // One line is enough of a file for age.
  const line = written(t, ageIdentity(secret));
  assert.deepEqual(execFileSync("age", ["-d", "-i", line], { input: sealed }), plain);

  // From files: it reads no more once no identity fits.
  const [wrong, from] = [written(t, ageIdentityFile(other)), written(t, sealed)];
  assert.throws(
    () => execFileSync("age", ["-d", "-i", wrong, from], { stdio: "pipe" }),
    /no identity matched/,
  );
});

test("age-keygen finds the recipients that we find, for 50 keys", (t) => {
  const all = Array.from({ length: 50 }, () => new Uint8Array(randomBytes(32)));
  const path = written(t, Buffer.concat(all.map(ageIdentityFile)));
  const found = execFileSync("age-keygen", ["-y", path], { encoding: "utf8" });
  assert.deepEqual(found.trimEnd().split("\n"), all.map(ageRecipient));
});

test("a file that is encrypted to several recipients opens with each, armoured too", (t) => {
  const both = secrets(["default", "laptop.2026"]);
  const recipients = both.flatMap((secret) => ["-r", ageRecipient(secret)]);
  const sealed = execFileSync("age", ["-a", ...recipients], { input: "for two" });
  for (const secret of both) {
    const path = written(t, ageIdentityFile(secret));
    assert.equal(execFileSync("age", ["-d", "-i", path], { input: sealed }).toString(), "for two");
  }
});
