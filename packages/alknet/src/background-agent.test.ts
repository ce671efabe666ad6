import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createVaultFile } from "@alknet/vault/vault-file";
import { startAgent } from "./background-agent.ts";
import { start, testHome } from "./testing.ts";
import { PASSPHRASE, vaultHome } from "./testing-vault.ts";

test("shells that start an agent at the same time have one", async () => {
  using home = testHome();
  const secrets = { entropy: new Uint8Array(32), seed: new Uint8Array(64), passphraseUsed: false };
  using _file = await createVaultFile(
    home.home.vault,
    { ...secrets, names: [] },
    Buffer.from("passphrase"),
  );
  // As the program itself has been called.
  process.env["ALKNET_HOME"] = home.folder;
  const main = join(import.meta.dirname, "main.ts");
  const program = [process.execPath, "--conditions=@alknet/source", main];
  const started = await Promise.allSettled(
    [1, 2, 3].map(() => startAgent({ home: home.home, program })),
  );
  const pids = new Set<number>();
  try {
    for (const each of started) {
      assert.ok(each.status === "fulfilled", String((each as PromiseRejectedResult).reason));
      pids.add((await each.value.status()).pid);
    }
    assert.equal(pids.size, 1);
    if (process.platform !== "linux") return;
    for (const pid of pids) {
      const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
      assert.match(limits, /^Max core file size +0 +0 /m);
    }
  } finally {
    for (const pid of pids) process.kill(pid);
  }
});

test("an agent that cannot start says why", async () => {
  using home = await vaultHome();
  mkdirSync(join(home.home.sshAgentSocket, "in the way"), { recursive: true });
  chmodSync(home.home.run, 0o700);
  const unlock = ["vault", "unlock", "--passphrase-stdin"];
  const { code, stderr } = await start(home, unlock, `${PASSPHRASE}\n`).exited;
  assert.equal(code, 1);
  assert.match(stderr, /cannot start the agent: .*ssh-agent\.sock/);
});
