/**
 * A program that does with a vault file all that can be done, also what fails, and stays, so that
 * `vault-file-memory.test.ts` can look at its memory: `vault-file-memory-program.ts FOLDER`.
 *
 * The file `secrets` in FOLDER has a passphrase, the one after it and an unlock key, 32 bytes each, and 16 bytes to
 * keep. At a line on stdin, the program disposes of what it has open; at another it ends.
 *
 * @module
 */

import { once } from "node:events";
import { openSync, readSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { ageIdentityFile } from "@alknet/vault/age-identity";
import { opensshPrivateKeyFile } from "@alknet/vault/openssh-key";
import { pkarrSecretKey } from "@alknet/vault/pkarr-key";
import type { VaultError } from "@alknet/vault/vault-error";
import { createVaultFile, openVaultFile } from "@alknet/vault/vault-file";
import { secretBytes, wipe } from "@alknet/vault/wipe";

const ROUNDS = 100;

const [folder = ""] = process.argv.slice(2);
const path = join(folder, "vault.json");
const file = openSync(join(folder, "secrets"), "r");
// Nobody wipes this one: whoever looks must find it, or he has not looked.
const planted = readSecret(96, 16);

await changeAll();
await failAll();
const unlockKey = readSecret(64, 32);
// Often, for what is freed may be written over by chance.
for (let round = 0; round < ROUNDS; round++) {
  using opened = await openVaultFile(path, { unlockKey });
  exportAll(opened.seed.subarray(0, 32));
}
const vault = await openVaultFile(path, { unlockKey });
wipe(unlockKey);
await next("open");
vault[Symbol.dispose]();
// What the collector lets go of is freed in several steps.
for (let round = 0; round < 4; round += 1) {
  globalThis.gc!();
  await setImmediate();
}
await next("disposed");
process.exit(planted.length === 16 ? 0 : 1);

async function changeAll(): Promise<void> {
  const [passphrase, after] = [readSecret(0, 32), readSecret(32, 32)];
  using opened = await openVaultFile(path, { passphrase });
  wipe(await opened.addUnlockKey("stick"));
  await opened.removeUnlockKey("stick");
  await opened.addName({ kind: "ssh", name: "work", confirm: true });
  await opened.changePassphrase(after);
  opened.forgetSecrets();
  await opened.removeName("ssh", "work");
  using copy = await openVaultFile(path, { passphrase: after });
  const { entropy, seed, names } = copy;
  const secrets = { entropy, seed, names, passphraseUsed: false };
  using _made = await createVaultFile(join(folder, "made.json"), secrets, after);
  wipe(passphrase, after);
}

/** Every way to fail that has secrets in hand. */
async function failAll(): Promise<void> {
  const [passphrase, after, key] = [readSecret(0, 32), readSecret(32, 32), readSecret(64, 32)];
  // It was changed.
  await fails("VAULT_PASSPHRASE_WRONG", openVaultFile(path, { passphrase }));
  const made = join(folder, "made.json");
  await fails("UNLOCK_KEY_WRONG", openVaultFile(made, { unlockKey: key }));
  const damaged = join(folder, "damaged.json");
  await fails("VAULT_DAMAGED", openVaultFile(damaged, { unlockKey: key }));
  await fails("VAULT_DAMAGED", openVaultFile(damaged, { passphrase }));
  // A folder is where the new file would be written.
  using stuck = await openVaultFile(join(folder, "stuck.json"), { unlockKey: key });
  await fails("VAULT_UNREADABLE", stuck.changePassphrase(after));
  await fails("VAULT_UNREADABLE", stuck.addUnlockKey("stick"));
  const { entropy, seed, names } = stuck;
  const secrets = { entropy, seed, names, passphraseUsed: false };
  await fails("VAULT_EXISTS", createVaultFile(path, secrets, after));
  wipe(passphrase, after, key);
}

function exportAll(seed: Uint8Array): void {
  const publicKey = new Uint8Array(32);
  wipe(opensshPrivateKeyFile(seed, publicKey, "me"), ageIdentityFile(seed), pkarrSecretKey(seed));
}

async function fails(code: VaultError["code"], failing: Promise<unknown>): Promise<void> {
  const error = await failing.then(
    () => undefined,
    (reason: VaultError) => reason,
  );
  if (error?.code !== code) throw new Error(`expected ${code}`, { cause: error });
}

function readSecret(at: number, length: number): Uint8Array {
  const secret = secretBytes(length);
  readSync(file, secret, 0, length, at);
  return secret;
}

/** Say where we are, and wait for a line. */
async function next(state: string): Promise<void> {
  console.log(state);
  await once(process.stdin, "data");
}
