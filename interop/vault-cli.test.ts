/**
 * Keys that `alknet vault` exports, in the hands of the programs that they are for.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { run, type TestHome } from "../packages/alknet/src/testing.ts";
import { PASSPHRASE, vaultHome } from "../packages/alknet/src/testing-vault.ts";

async function alknet(home: TestHome, ...args: readonly string[]): Promise<string> {
  const input = `${PASSPHRASE}\n`;
  const ran = await run(home, ["vault", ...args, "--passphrase-stdin"], { input });
  assert.equal(ran.code, 0, ran.stderr);
  return ran.stdout;
}

function program(cwd: string, command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("ssh-keygen reads a private key that was exported, and has its public line", async () => {
  using home = await vaultHome();
  const file = join(home.folder, "key");
  const line = await alknet(home, "ssh-key", "--name", "work");
  await alknet(home, "ssh-key", "--name", "work", "--private", "--force", "--output", file);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(program(home.folder, "ssh-keygen", "-y", "-f", file), line);
  // A file that is there is somebody's key.
  const args = ["vault", "ssh-key", "--private", "--force", "-o", file, "--passphrase-stdin"];
  const again = await run(home, args, { input: `${PASSPHRASE}\n` });
  assert.equal(again.code, 1);
  assert.match(again.stderr, /there is a file already: .*\nhint: .*: rm /);
});

test("what age has encrypted to the recipient, it decrypts with the identity that was exported", async () => {
  using home = await vaultHome();
  const recipient = (await alknet(home, "age-key", "--name", "backup")).trim();
  writeFileSync(join(home.folder, "plain"), "hunter2");
  program(home.folder, "age", "-r", recipient, "-o", "sealed", "plain");
  const file = join(home.folder, "identity");
  await alknet(home, "age-key", "--name", "backup", "--force", "--output", file);
  assert.equal(program(home.folder, "age", "-d", "-i", file, "sealed"), "hunter2");
  assert.equal(program(home.folder, "age-keygen", "-y", file).trim(), recipient);
});
