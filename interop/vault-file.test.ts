/**
 * Processes that change a vault file are killed at every step, and several of them change it at once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { writeUnlockKeyFile } from "@alknet/vault/unlock-key";
import { createVaultFile, openVaultFile } from "@alknet/vault/vault-file";
import { type Ended, follow } from "./program.ts";

const PROGRAM = new URL("vault-file-process.ts", import.meta.url).pathname;
/** Processes at once, where each is killed alone. */
const LANES = 2;

const seed = new Uint8Array(64).fill(7);
const secrets = { entropy: new Uint8Array(32), seed, passphraseUsed: false, names: [] };
let text = "";
let unlockKey: Uint8Array = new Uint8Array();

before(async () => {
  using home = folder();
  using vault = await createVaultFile(home.path, secrets, Buffer.from("old"));
  unlockKey = await vault.addUnlockKey("boot");
  text = fs.readFileSync(home.path, "latin1");
});

test("killed at any step of a new passphrase, a process leaves the old state or the new one", async (t) => {
  const steps = await stepsOf("passwd", text);
  const durable = ["writeFileSync", "fsyncSync", "renameSync", "fsyncSync"];
  assert.deepEqual(
    steps.filter((step) => durable.includes(step)),
    durable,
  );
  const left = await killedAtEach(steps, "passwd", text, async (path) => {
    const isOld = fs.readFileSync(path, "latin1") === text;
    if (!isOld) await opensWith(path, "new");
    // It can be changed as if nothing had been.
    using vault = await openVaultFile(path, { unlockKey });
    assert.deepEqual(Buffer.from(vault.seed), Buffer.from(seed));
    await vault.addUnlockKey("next");
    assert.deepEqual(vault.unlockKeys, ["boot", "next"]);
    assert.ok(!fs.existsSync(`${path}.tmp`));
    return isOld ? "old" : "new";
  });
  t.diagnostic(left.map((state, at) => `${steps[at]}: ${state}`).join(", "));
  assert.deepEqual([...new Set(left)], ["old", "new"]);
});

test("killed at any step of making a vault file, a process leaves none or a whole one", async (t) => {
  const steps = await stepsOf("create", undefined);
  const left = await killedAtEach(steps, "create", undefined, async (path) => {
    const isThere = fs.existsSync(path);
    if (isThere) await opensWith(path, "new");
    const again = createVaultFile(path, secrets, Buffer.from("again"));
    if (isThere) await assert.rejects(again, { code: "VAULT_EXISTS" });
    else (await again)[Symbol.dispose]();
    return isThere ? "whole" : "none";
  });
  t.diagnostic(left.map((state, at) => `${steps[at]}: ${state}`).join(", "));
  assert.deepEqual([...new Set(left)], ["none", "whole"]);
});

test("four processes that add names at once all get theirs", async () => {
  using home = folder(text);
  const prefixes = ["a", "b", "c", "d"];
  const ended = await Promise.all(prefixes.map((prefix) => run("names", home.path, prefix)));
  for (const each of ended) assert.equal(each.status, 0, each.stderr);
  using vault = await openVaultFile(home.path, { unlockKey });
  const wanted = prefixes.flatMap((prefix) =>
    Array.from({ length: 20 }, (_, at) => `${prefix}-${at}`),
  );
  assert.deepEqual(new Set(vault.names.map(({ name }) => name)), new Set(wanted));
});

test("of processes that change the passphrase at once, one has the last word", async () => {
  using home = folder(text);
  const passphrases = ["one", "two", "three"];
  const ended = await Promise.all(passphrases.map((each) => run("passwd", home.path, each)));
  for (const each of ended) assert.equal(each.status, 0, each.stderr);
  const opened = await Promise.allSettled(
    ["old", ...passphrases].map((passphrase) => opensWith(home.path, passphrase)),
  );
  const refusals = opened.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  assert.deepEqual(
    refusals.map(({ code }: { code: string }) => code),
    Array(3).fill("VAULT_PASSPHRASE_WRONG"),
  );
});

test("of processes that make a vault file at once one does, and the others are told", async () => {
  using home = folder();
  const passphrases = ["one", "two", "three"];
  const ended = await Promise.all(passphrases.map((each) => run("create", home.path, each)));
  const codes = ended.map(({ stdout }) => (JSON.parse(stdout) as { code?: string }).code);
  const made = codes.indexOf(undefined);
  const others = codes.filter((_, at) => at !== made);
  assert.deepEqual(others, ["VAULT_EXISTS", "VAULT_EXISTS"]);
  await opensWith(home.path, passphrases[made] ?? "");
});

/** A folder for a vault file, with its unlock key beside it, and with the file if there is a text. */
function folder(vault?: string): Disposable & { path: string } {
  const path = join(fs.mkdtempSync(join(tmpdir(), "alknet-vault-")), "vault.json");
  if (vault !== undefined) {
    fs.writeFileSync(path, vault, { mode: 0o600 });
    writeUnlockKeyFile(`${path}.key`, unlockKey);
  }
  const remove = (): void => fs.rmSync(dirname(path), { recursive: true });
  return { path, [Symbol.dispose]: remove };
}

async function opensWith(path: string, passphrase: string): Promise<void> {
  using vault = await openVaultFile(path, { passphrase: Buffer.from(passphrase) });
  assert.equal(vault.path, path);
}

async function stepsOf(job: string, vault: string | undefined): Promise<string[]> {
  using home = folder(vault);
  const { status, stdout, stderr } = await run(job, home.path, "new");
  assert.equal(status, 0, stderr);
  return (JSON.parse(stdout) as { steps: string[] }).steps;
}

/** Do the job once for each step, each time on a new folder. @returns what `look` finds, by step. */
async function killedAtEach(
  steps: readonly string[],
  job: string,
  vault: string | undefined,
  look: (path: string) => Promise<string>,
): Promise<string[]> {
  const found: string[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < steps.length) {
      const at = next++;
      using home = folder(vault);
      const { signal, stderr } = await run(job, home.path, "new", at + 1);
      assert.equal(signal, "SIGKILL", `${steps[at]}: ${stderr}`);
      found[at] = await look(home.path);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return found;
}

function run(job: string, path: string, argument: string, step = 0): Promise<Ended> {
  const words = ["--conditions=@alknet/source", PROGRAM, job, path, argument, String(step)];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
  return follow(child, `${job} ${argument}`).ended;
}
