/**
 * `vault-unlock`: opening a vault file with its passphrase until the identity is derived, less the time of argon2id.
 *
 * Argon2id is slow on purpose, and everybody pays it; what comes on top is ours. Its time is taken within the same
 * unlock, for it varies by more than all the rest takes.
 *
 * @module
 */

import crypto, { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IDENTITY_PATH } from "@alknet/vault/derivation-path";
import { createVault } from "@alknet/vault/vault";
import { createVaultFile, openVaultFile, type VaultFileSecret } from "@alknet/vault/vault-file";
import { type Bench, compare, median, takeTurns } from "./harness.ts";

/** What may come on top of argon2id, in milliseconds. */
const LIMIT = 20;

export const bench: Bench = {
  async run({ quick, budget, say }) {
    const folder = await mkdtemp(join(tmpdir(), "alknet-bench-"));
    try {
      const path = join(folder, "vault.json");
      const passphrase = randomBytes(20);
      const secrets = { entropy: randomBytes(32), seed: randomBytes(64) };
      const content = { ...secrets, passphraseUsed: false, names: [] };
      using made = await createVaultFile(path, content, passphrase);
      const unlockKey = await made.addUnlockKey("boot");
      using argon2 = timedArgon2();
      const samples = await takeTurns(
        quick ? 21 : 61,
        {
          passphrase: () => unlock(path, { passphrase }, argon2.spent),
          "unlock key": () => unlock(path, { unlockKey }, argon2.spent),
        },
        { say, budget },
      );
      const limits = samples.passphrase.map(() => LIMIT);
      const onTop = (name: string, ours: readonly number[]) =>
        compare(name, ours, limits, {
          ...{ peerName: "limit", unit: "ms without argon2id", goal: 1 },
          better: "lower",
        });
      return {
        main: onTop("vault-unlock", samples.passphrase),
        variants: [onTop("vault-unlock, unlock key", samples["unlock key"])],
        facts: { "argon2id, ms": median(argon2.spent) },
      };
    } finally {
      await rm(folder, { recursive: true });
    }
  },
};

/** @returns milliseconds, less those that are added to `argon2`. */
async function unlock(
  path: string,
  secret: VaultFileSecret,
  argon2: readonly number[],
): Promise<number> {
  const before = argon2.length;
  const begin = performance.now();
  using file = await openVaultFile(path, secret);
  using vault = createVault();
  vault.unlockSeed(file.seed);
  vault.publicKey(IDENTITY_PATH);
  const whole = performance.now() - begin;
  return argon2.slice(before).reduce((rest, each) => rest - each, whole);
}

/** Take the time of each argon2id in this process, until it is disposed of. */
function timedArgon2(): Disposable & { readonly spent: readonly number[] } {
  const original = crypto.argon2;
  const spent: number[] = [];
  crypto.argon2 = (algorithm, parameters, callback) => {
    const begin = performance.now();
    original(algorithm, parameters, (error, key) => {
      spent.push(performance.now() - begin);
      callback(error, key);
    });
  };
  syncBuiltinESMExports();
  return {
    spent,
    [Symbol.dispose]() {
      crypto.argon2 = original;
      syncBuiltinESMExports();
    },
  };
}
