import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
import { openVaultFile } from "@alknet/vault/vault-file";
import { run, testHome, type TestHome } from "./testing.ts";
import { PASSPHRASE, vaultHome } from "./testing-vault.ts";

async function completed(home: TestHome, ...words: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await run(home, ["__complete", "--", ...words]);
  assert.deepEqual([code, stderr], [0, ""]);
  return stdout.split("\n").flatMap((line) => (line === "" ? [] : [line.split("\t")[0]!]));
}

test("commands, options and names of peers are completed, each where it may stand", async () => {
  using home = testHome();
  home.config("[peers.den]", `fingerprint = "ed25519:${"a".repeat(64)}"`);
  await run(home, ["peers", "add", "desk", `ed25519:${"b".repeat(64)}`]);
  assert.deepEqual(await completed(home, "pe"), ["peers"]);
  assert.ok((await completed(home, "")).includes("forward"));
  assert.ok(!(await completed(home, "")).includes("__complete"));
  assert.deepEqual(await completed(home, "peers", "re"), ["revoke", "rename", "remove"]);
  assert.deepEqual(await completed(home, "peers", "revoke", "d"), ["den", "desk"]);
  assert.deepEqual(await completed(home, "peers", "revoke", "--json", "den", "--a"), ["--all"]);
  assert.deepEqual(await completed(home, "ping", "--count", "d"), []);
  assert.deepEqual(await completed(home, "ping", "--count", "2", "de"), ["den", "desk"]);
  assert.deepEqual(await completed(home, "forward", "den", "d"), []);
  assert.deepEqual(await completed(home, "peers", "add", "d"), []);
  assert.deepEqual(await completed(home, "completion", "b"), ["bash"]);
  assert.deepEqual(await completed(home, "ping", "--t"), ["--tcp"]);
});

test("names of credentials are completed where one is to be named", async () => {
  using home = testHome();
  const value = { key_version: 2, salt: new Uint8Array(), iv: new Uint8Array(12) };
  {
    await using store = await openSqliteStore({ path: home.home.database });
    await store.credentials.put("github", { ...value, data: new Uint8Array(20) });
  }
  assert.deepEqual(await completed(home, "credential", "re"), ["remove"]);
  for (const command of ["set", "get", "remove"]) {
    assert.deepEqual(await completed(home, "credential", command, "g"), ["github"]);
  }
});

test("commands of the vault are completed, and labels of its unlock keys", async () => {
  using home = await vaultHome();
  const passphrase = Buffer.from(PASSPHRASE);
  using file = await openVaultFile(home.home.vault, { passphrase });
  await file.addUnlockKey("boot");
  assert.deepEqual(await completed(home, "vault", "un"), ["unlock", "unlock-key"]);
  assert.deepEqual(await completed(home, "vault", "unlock-key", "re"), ["remove"]);
  assert.deepEqual(await completed(home, "vault", "unlock-key", "remove", ""), ["boot"]);
  assert.deepEqual(await completed(home, "vault", "agent", "--shell", "f"), []);
});

test("a home that is not there, or is broken, completes commands and makes nothing", async () => {
  using home = testHome();
  home.config("this is no TOML");
  assert.deepEqual(await completed(home, "ping", ""), []);
  assert.deepEqual(await completed(home, "stat"), ["status"]);
});

test("bash completes with the script, names with colons on the line included", () => {
  using home = testHome();
  home.config("[peers.den]", `fingerprint = "ed25519:${"a".repeat(64)}"`);
  const program = join(home.folder, "alknet");
  const main = join(import.meta.dirname, "main.ts");
  const node = `exec ${process.execPath} --conditions=@alknet/source ${main} "$@"`;
  writeFileSync(program, `#!/bin/sh\n${node}\n`);
  chmodSync(program, 0o755);
  const script = `
    source <(alknet completion bash)
    complete -p alknet
    try() { COMP_LINE="$1"; COMP_POINT=\${#1}; _alknet; echo "\${COMPREPLY[*]}"; }
    try "alknet sta"
    try "alknet ping d"
    try "alknet peers grant den tunnel:dial:localhost:80 --un"
    try "alknet nothing-there "`;
  const env = { ...process.env, PATH: `${home.folder}:${process.env["PATH"]}`, NODE_OPTIONS: "" };
  const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", script], {
    encoding: "utf8",
    env: { ...env, ALKNET_HOME: home.folder },
  });
  const want = ["complete -o default -F _alknet alknet", "status", "den", "--until"];
  assert.deepEqual(stdout.split("\n").slice(0, 4), want, stderr);
});
