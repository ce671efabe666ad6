/**
 * What a vault's agent leaves in its memory when it is locked: the real program, read from outside.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { encryptionKeyPath, IDENTITY_PATH, sshKeyPath } from "@alknet/vault/derivation-path";
import { sshPublicKeyLine } from "@alknet/vault/openssh-key";
import { createVault } from "@alknet/vault/vault";
import { createVaultFile } from "@alknet/vault/vault-file";
import { start, testHome } from "../packages/alknet/src/testing.ts";
import { startOnTerminal } from "../packages/alknet/src/testing-terminal.ts";
import { vaultClient } from "../packages/alknet/src/vault-agent-client.ts";
import { scanMemory } from "./memory-scan.ts";

/** How much of a secret has to be in one place to be found, in bytes. */
const PIECE = 16;

test("an agent that was used and locked has no secret in its memory", async () => {
  using home = testHome();
  using vault = createVault();
  const seed = randomBytes(64);
  vault.unlockSeed(seed);
  const passphrase = Buffer.from(`correct horse ${randomBytes(8).toString("hex")}`);
  const plaintext = randomBytes(64);
  const names = [{ kind: "ssh", name: "work", confirm: false }] as const;
  const secrets = { entropy: randomBytes(32), seed, passphraseUsed: false };
  using file = await createVaultFile(home.home.vault, { ...secrets, names }, passphrase);
  const unlockKey = await file.addUnlockKey("boot");
  const needles = new Map<string, Uint8Array>([
    ["seed", seed],
    ["entropy", secrets.entropy],
    ["passphrase", passphrase],
    ["unlock key", unlockKey],
    ["plaintext", plaintext],
    ...([IDENTITY_PATH, sshKeyPath("work"), encryptionKeyPath(2)] as const).map(
      (path): [string, Uint8Array] => [path, vault.derivePrivate32(path)],
    ),
  ]);
  await using program = start(home, ["vault", "agent", "--json"]);
  const { sshAgentSocket } = await program.ready;
  const pid = program.child.pid!;
  const client = vaultClient(home.home);
  await client.unlock({ passphrase });
  await client.lock();
  await client.unlock({ unlockKey });
  const sealed = await client.encrypt(plaintext);
  await client.decrypt(sealed);
  await client.rotate(sealed, 2);
  await client.nodeKeys();
  const line = sshPublicKeyLine(vault.publicKey(sshKeyPath("work")), "work");
  writeFileSync(join(home.folder, "work.pub"), `${line}\n`);
  for (let at = 0; at < 10; at++) {
    execFileSync(
      "ssh-keygen",
      ["-q", "-Y", "sign", "-n", "file", "-f", join(home.folder, "work.pub")],
      {
        input: "text",
        env: { ...process.env, SSH_AUTH_SOCK: String(sshAgentSocket) },
      },
    );
  }
  // They are there, and would be found.
  assert.ok(secretsIn(pid, needles).includes("seed, byte 0"));
  await client.lock();
  assert.deepEqual(secretsIn(pid, needles), []);
});

test("what an agent was sent is not where it was read, also if nothing was read after it", async () => {
  using home = testHome();
  const passphrase = Buffer.from(randomBytes(24).toString("hex"));
  const wrong = Buffer.from(randomBytes(24).toString("hex"));
  const plaintext = randomBytes(64);
  const secrets = { entropy: randomBytes(32), seed: randomBytes(64), passphraseUsed: false };
  using _file = await createVaultFile(home.home.vault, { ...secrets, names: [] }, passphrase);
  await using program = start(home, ["vault", "agent", "--json"]);
  await program.ready;
  const client = vaultClient(home.home);
  const nothingOf = async (name: string, secret: Uint8Array): Promise<void> => {
    await client.lock();
    assert.deepEqual(secretsIn(program.child.pid!, new Map([[name, secret]])), []);
  };
  await assert.rejects(client.unlock({ passphrase: wrong }), { code: "VAULT_PASSPHRASE_WRONG" });
  await nothingOf("wrong passphrase", wrong);
  await client.unlock({ passphrase });
  await nothingOf("passphrase", passphrase);
  await client.unlock({ passphrase });
  await client.encrypt(plaintext);
  await nothingOf("plaintext", plaintext);
});

test("a node that was given the passphrase, typed or piped in, forgets it", async () => {
  const passphrase = Buffer.from(randomBytes(24).toString("hex"));
  const secrets = { entropy: randomBytes(32), seed: randomBytes(64), passphraseUsed: false };
  for (const typed of [true, false]) {
    using home = testHome();
    using _file = await createVaultFile(home.home.vault, { ...secrets, names: [] }, passphrase);
    home.config('listen = ["127.0.0.1:0"]');
    await using ending = new AsyncDisposableStack();
    if (typed) {
      const terminal = ending.use(startOnTerminal(home, ["up"]));
      await terminal.until("Passphrase of the vault: ");
      terminal.type(String(passphrase));
      await terminal.until("ready");
    } else {
      const args = ["up", "--json", "--passphrase-stdin"];
      await ending.use(start(home, args, `${String(passphrase)}\n`)).ready;
    }
    const client = vaultClient(home.home);
    const { pid } = await client.status();
    await client.lock();
    assert.deepEqual(secretsIn(pid, new Map([["passphrase", passphrase]])), []);
  }
});

/** Which pieces of secrets are in the memory of a process. */
function secretsIn(pid: number, secrets: ReadonlyMap<string, Uint8Array>): string[] {
  const pieces = [...secrets].flatMap(([name, bytes]) =>
    Array.from({ length: Math.floor(bytes.length / PIECE) }, (_, at): [string, Uint8Array] => [
      `${name}, byte ${at * PIECE}`,
      bytes.subarray(at * PIECE, (at + 1) * PIECE),
    ]),
  );
  return [...new Set(scanMemory(pid, new Map(pieces)).map(({ needle }) => needle))];
}
