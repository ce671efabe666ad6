/**
 * A program that had a vault file open, and failed to open others, has nothing of what was in them once it is done.
 *
 * Looked for are passphrases, unlock keys, what they are made into, the file key, the entropy, the seed and exported
 * keys, as they are, in hexadecimal and in base64. A secret counts as found if sixteen bytes in a row are.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { argon2Sync, hkdfSync, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ageIdentityFile } from "@alknet/vault/age-identity";
import { opensshPrivateKeyFile } from "@alknet/vault/openssh-key";
import { createVaultFile } from "@alknet/vault/vault-file";
import {
  formatVaultFile,
  type PassphraseSlot,
  parseVaultFile,
  type SealedVaultFile,
} from "@alknet/vault/vault-file-format";
import { openWithUnlockKey } from "@alknet/vault/vault-file-keys";
import { scanMemory } from "./memory-scan.ts";
import { follow } from "./program.ts";

/** How much of a secret has to be in one place to be found, in bytes. */
const PIECE = 16;

const entropy = randomBytes(32);
const seed = randomBytes(64);
const passphrase = randomBytes(32);
const after = randomBytes(32);
const planted = randomBytes(16);

test("nothing of a vault file is left in memory once it is disposed of, or did not open", async () => {
  await using run = await start();
  const found = (needles: ReadonlyMap<string, Uint8Array>) => [
    ...new Set(scanMemory(run.program.pid, needles).map(({ needle }) => needle)),
  ];
  await run.program.waitFor(/^open/m);
  const secrets = needlesOf(run.sealedBefore, run.sealed(), run.unlockKey);
  const before = found(secrets);
  for (const name of ["seed", "entropy", "file key"])
    assert.ok(before.includes(`${name} at 0`), name);
  run.next();
  await run.program.waitFor(/^disposed/m);
  assert.deepEqual(found(new Map([["planted", planted]])), ["planted"]);
  assert.deepEqual(found(secrets), []);
});

async function start() {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-vault-memory-"));
  const path = join(folder, "vault.json");
  const secrets = { entropy, seed, passphraseUsed: false, names: [] };
  using vault = await createVaultFile(path, secrets, passphrase);
  const unlockKey = await vault.addUnlockKey("boot");
  const sealedBefore = parseVaultFile(fs.readFileSync(path, "latin1"));
  const body = sealedBefore.body.slice();
  body[0]! ^= 1;
  const damaged = formatVaultFile({ ...sealedBefore, body });
  fs.writeFileSync(join(folder, "damaged.json"), damaged, { mode: 0o600 });
  fs.copyFileSync(path, join(folder, "stuck.json"));
  fs.mkdirSync(join(folder, "stuck.json.tmp"));
  fs.writeFileSync(join(folder, "secrets"), Buffer.concat([passphrase, after, unlockKey, planted]));
  const program = new URL("vault-file-memory-program.ts", import.meta.url).pathname;
  const words = ["--conditions=@alknet/source", "--expose-gc", program, folder];
  const child = spawn(process.execPath, words, { stdio: "pipe" });
  return {
    program: follow(child, "the program"),
    unlockKey,
    sealedBefore,
    sealed: () => parseVaultFile(fs.readFileSync(path, "latin1")),
    next: () => child.stdin.write("\n"),
    async [Symbol.asyncDispose]() {
      await this.program.stop("SIGKILL");
      fs.rmSync(folder, { recursive: true });
    },
  };
}

function needlesOf(
  sealedBefore: SealedVaultFile,
  sealed: SealedVaultFile,
  unlockKey: Uint8Array,
): Map<string, Uint8Array> {
  const [boot] = sealed.unlockKeys;
  const key = seed.subarray(0, 32);
  const exported = {
    ssh: opensshPrivateKeyFile(key, new Uint8Array(32), ""),
    age: ageIdentityFile(key),
  };
  const secrets: Record<string, Uint8Array> = {
    entropy,
    seed,
    passphrase,
    "new passphrase": after,
    "key of the passphrase": argon2id(passphrase, sealedBefore.passphrase),
    "key of the new passphrase": argon2id(after, sealed.passphrase),
    "unlock key": unlockKey,
    "key of the unlock key": Buffer.from(
      hkdfSync("sha256", unlockKey, boot!.salt, "alknet-vault unlock key", 32),
    ),
    "file key": openWithUnlockKey(sealed.unlockKeys, unlockKey)!,
    // Where it is all secret: behind the header and the public key, and behind the recipient.
    "exported SSH key": exported.ssh.subarray(256, 296),
    "exported age key": exported.age.subarray(-60),
  };
  return new Map(
    Object.entries(secrets).flatMap(([name, secret]) => {
      const bytes = Buffer.from(secret);
      const forms = {
        [name]: bytes,
        [`${name}, hex`]: Buffer.from(bytes.toString("hex")),
        [`${name}, base64`]: Buffer.from(bytes.toString("base64")),
      };
      return Object.entries(forms).flatMap(([form, whole]) =>
        Array.from({ length: Math.floor(whole.length / PIECE) }, (_, at) => {
          const piece = whole.subarray(at * PIECE, (at + 1) * PIECE);
          return [`${form} at ${at * PIECE}`, piece] as const;
        }),
      );
    }),
  );
}

function argon2id(message: Uint8Array, { salt: nonce, cost }: PassphraseSlot): Buffer {
  const { memory, passes, lanes: parallelism } = cost;
  return argon2Sync("argon2id", { message, nonce, memory, passes, parallelism, tagLength: 32 });
}
