/**
 * A process that changes a vault file: `vault-file-process.ts JOB PATH ARGUMENT [STEP]`, for `vault-file.test.ts`.
 *
 * - `create PASSPHRASE`, `passwd PASSPHRASE`, `names PREFIX` (twenty of them, one by one). `passwd` and `names` open
 *   it with the unlock key that is beside it in `PATH.key`.
 * - With a step, the process kills itself (SIGKILL) there. A step is before each call of the file system, in the midst
 *   of a write, and at the end.
 *
 * Prints one line of JSON: the names of all `steps`, and the `code` of a refusal.
 *
 * @module
 */

import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import process from "node:process";
import { VaultError } from "@alknet/vault/vault-error";
import { unlockKeyFile } from "@alknet/vault/unlock-key";
import { createVaultFile, type OpenedVault, openVaultFile } from "@alknet/vault/vault-file";

const [job = "", path = "", argument = "", step = "0"] = process.argv.slice(2);
const steps: string[] = [];

// Loaded before the steps are counted: it is no part of the change.
await import("node:sqlite");

try {
  const change = await prepare();
  countSteps();
  await change();
  reach("end");
  print({ steps });
} catch (error) {
  if (!(error instanceof VaultError)) throw error;
  print({ steps, code: error.code });
}

async function prepare(): Promise<() => Promise<unknown>> {
  const passphrase = Buffer.from(argument);
  if (job === "create") {
    const secrets = { entropy: new Uint8Array(32), seed: new Uint8Array(64) };
    return () =>
      createVaultFile(path, { ...secrets, passphraseUsed: false, names: [] }, passphrase);
  }
  const unlockKey = await unlockKeyFile(`${path}.key`).read();
  const vault = await openVaultFile(path, { unlockKey: unlockKey! });
  if (job === "passwd") return () => vault.changePassphrase(passphrase);
  if (job === "names") return () => addNames(vault);
  throw new Error(`no job ${job}`);
}

async function addNames(vault: OpenedVault): Promise<void> {
  for (let at = 0; at < 20; at++) {
    await vault.addName({ kind: "ssh", name: `${argument}-${at}`, confirm: false });
  }
}

/** Put a step before each call of a function of node:fs that ends with `Sync`. */
function countSteps(): void {
  const all = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  let nested = false;
  for (const name of Object.keys(fs).filter((key) => key.endsWith("Sync"))) {
    const original = all[name]!;
    all[name] = (...args) => {
      // Some are made of others.
      if (nested) return original(...args);
      nested = true;
      try {
        reach(name);
        if (name === "writeFileSync") {
          const half = String(args[1]).slice(0, 500);
          reach("half", () => original(args[0], half));
        }
        return original(...args);
      } finally {
        nested = false;
      }
    };
  }
  syncBuiltinESMExports();
}

function reach(name: string, last?: () => void): void {
  steps.push(name);
  if (steps.length !== Number(step)) return;
  last?.();
  process.kill(process.pid, "SIGKILL");
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
