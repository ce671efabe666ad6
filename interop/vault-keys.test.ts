/**
 * Real OpenSSH reads the keys that a vault exports, and signs with them as the vault does.
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
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { SSH_HOST_PATH, sshKeyPath } from "@alknet/vault/derivation-path";
import type { DerivedKey } from "@alknet/vault/derived-key";
import { opensshPrivateKeyFile, sshFingerprint, sshPublicKeyLine } from "@alknet/vault/openssh-key";
import { createVault } from "@alknet/vault/vault";

const vault = createVault();
vault.unlockSeed(randomBytes(64));

/** The file of an exported key, mode 0600. */
function exported(t: TestContext, key: DerivedKey, comment: string): string {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-keys-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const path = join(folder, "id_ed25519");
  const file = opensshPrivateKeyFile(key.privateKey, key.publicKey, comment);
  fs.writeFileSync(path, file, { mode: 0o600 });
  return path;
}

function keygen(...words: string[]): string {
  return execFileSync("ssh-keygen", words, { encoding: "utf8", stdio: "pipe" }).trimEnd();
}

test("ssh-keygen reads exported keys, and finds their public keys, comments and fingerprints", (t) => {
  for (const path of [SSH_HOST_PATH, sshKeyPath(), sshKeyPath("work"), sshKeyPath("a.b-c_9")]) {
    using key = vault.deriveEd25519(path);
    const file = exported(t, key, "me@laptop work");
    const line = sshPublicKeyLine(key.publicKey, "me@laptop work");
    assert.equal(keygen("-y", "-f", file), line);
    const shown = `256 ${sshFingerprint(key.publicKey)} me@laptop work (ED25519)`;
    assert.equal(keygen("-l", "-f", file), shown);
    fs.writeFileSync(`${file}.pub`, `${line}\n`);
    assert.equal(keygen("-l", "-f", `${file}.pub`), shown);
    const name = `ed25519:${Buffer.from(key.publicKey).toString("hex")}`;
    assert.equal(parseSshPublicKey(line).fingerprint, name);
  }
});

test("comments of every length are padded as ssh-keygen wants it", (t) => {
  using key = vault.deriveEd25519(sshKeyPath());
  for (let length = 0; length <= 16; length++) {
    const comment = "é".repeat(length >> 1) + "x".repeat(length & 1);
    assert.equal(
      keygen("-y", "-f", exported(t, key, comment)),
      sshPublicKeyLine(key.publicKey, comment),
    );
  }
});

test("ssh-keygen puts a passphrase on an exported key, and takes it off again", (t) => {
  using key = vault.deriveEd25519(sshKeyPath());
  const file = exported(t, key, "me");
  keygen("-p", "-P", "", "-N", "correct horse", "-f", file);
  assert.throws(() => keygen("-y", "-P", "", "-f", file), /incorrect passphrase/);
  keygen("-p", "-P", "correct horse", "-N", "", "-f", file);
  assert.equal(keygen("-y", "-f", file), sshPublicKeyLine(key.publicKey, "me"));
});

test("what OpenSSH signs with an exported key is what the public key of the vault verifies", (t) => {
  using key = vault.deriveEd25519(sshKeyPath("git"));
  const file = exported(t, key, "me");
  const message = `${file}.message`;
  fs.writeFileSync(message, "hello");
  keygen("-Y", "sign", "-n", "file", "-f", file, message);
  const signers = `${file}.signers`;
  fs.writeFileSync(signers, `me ${sshPublicKeyLine(key.publicKey, "")}\n`);
  const verify = ["-Y", "verify", "-n", "file", "-I", "me", "-f", signers, "-s", `${message}.sig`];
  const said = execFileSync("ssh-keygen", verify, { input: "hello", encoding: "utf8" });
  assert.ok(said.includes(sshFingerprint(key.publicKey)), said);
});
