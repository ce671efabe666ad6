/**
 * A program that uses a vault, locks it and stays, so that `vault-memory.test.ts` can look at its memory.
 *
 *     vault-memory-program.ts new|given ROUNDS SECRETS SNAPSHOT
 *
 * The file SECRETS begins with 16 bytes to keep. Behind them `given` finds a passphrase of 32 bytes and its phrase;
 * `new` writes the phrase it makes there. Then, at each line on stdin: lock; write a heap snapshot; end.
 *
 * @module
 */

import { once } from "node:events";
import { fstatSync, openSync, readSync, writeSync } from "node:fs";
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { writeHeapSnapshot } from "node:v8";
import {
  encryptionKeyPath,
  IDENTITY_PATH,
  SSH_HOST_PATH,
  sshKeyPath,
} from "@alknet/vault/derivation-path";
import { createVault, type Vault } from "@alknet/vault/vault";
import { secretBytes, wipe } from "@alknet/vault/wipe";

const [mode, rounds, secrets = "", snapshot = ""] = process.argv.slice(2);
const file = openSync(secrets, "r+");
const planted = readSecret(0, 16);
// Nobody wipes these two: whoever looks must find them, or he has not looked.
const kept = { planted, text: Buffer.from(planted).toString("hex") };

// Room for fewer keys than are in use: they are derived again and again, and evicted.
const vault = createVault({ cacheSize: 4 });
if (mode === "new") unlockNew(vault);
else unlockGiven(vault);
for (let round = 0; round < Number(rounds); round += 1) use(vault);
await next("unlocked");
vault.lock();
// What the collector lets go of is freed in several steps.
for (let round = 0; round < 4; round += 1) {
  globalThis.gc!();
  await setImmediate();
}
await next("locked");
writeHeapSnapshot(snapshot);
await next("written");
process.exit(kept.planted.length === kept.text.length / 2 ? 0 : 1);

function unlockNew(vault: Vault): void {
  const phrase = vault.unlockNew(24);
  writeSync(file, phrase, 0, phrase.length, 16);
  wipe(phrase);
}

function unlockGiven(vault: Vault): void {
  const passphrase = readSecret(16, 32);
  const phrase = readSecret(48, fstatSync(file).size - 48);
  vault.unlock(phrase, passphrase);
  wipe(phrase, passphrase);
}

function readSecret(at: number, length: number): Uint8Array {
  const secret = secretBytes(length);
  readSync(file, secret, 0, length, at);
  return secret;
}

/** All that a vault does. */
function use(vault: Vault): void {
  const message = Buffer.from("message");
  for (const path of [IDENTITY_PATH, SSH_HOST_PATH, sshKeyPath("work")]) {
    using key = vault.deriveEd25519(path);
    key.sign(message);
  }
  using _ethereum = vault.deriveEthereum();
  const context = "credential:test";
  // A key is what is sealed, so that a plaintext that stays is found.
  const plaintext = vault.derivePrivate32(encryptionKeyPath(3));
  const rotated = vault.rotate(vault.encrypt(plaintext, { context }), 3, { context });
  wipe(plaintext, vault.decrypt(rotated, { context }));
}

/** Say where we are, and wait for a line. */
async function next(state: string): Promise<void> {
  console.log(state);
  await once(process.stdin, "data");
}
