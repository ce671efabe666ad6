import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { whileLocked } from "./vault-file-lock.ts";

function folder(t: TestContext): string {
  const path = fs.mkdtempSync(join(tmpdir(), "alknet-lock-"));
  t.after(() => fs.rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Takes the lock as another process does, until it is closed. */
function holder(path: string): DatabaseSync {
  const database = new DatabaseSync(`${path}.lock`);
  database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  return database;
}

test("whileLocked() gives what the work gives, and leaves an empty file of the owner alone", async (t) => {
  const home = folder(t);
  const path = join(home, "vault.json");
  const held = await whileLocked(path, () => fs.readdirSync(home));
  assert.deepEqual(held, ["vault.json.lock"]);
  const { size, mode } = fs.statSync(`${path}.lock`);
  assert.deepEqual([size, mode & 0o777], [0, 0o600]);
  await assert.rejects(
    whileLocked(path, () => assert.fail("mine")),
    { message: "mine" },
  );
  assert.equal(await whileLocked(path, () => 7), 7);
});

test("whileLocked() waits for another holder, and at last says that somebody is there", async (t) => {
  const path = join(folder(t), "vault.json");
  const other = holder(path);
  let worked = false;
  const waiting = whileLocked(path, () => (worked = true));
  await assert.rejects(
    whileLocked(path, () => assert.fail("not alone"), { patience: 0 }),
    {
      code: "VAULT_BUSY",
      message: `cannot use vault file ${JSON.stringify(path)}: another process has been writing it for 0 s`,
      hint: `look which one it is: fuser ${path}.lock`,
    },
  );
  assert.equal(worked, false);
  other.close();
  assert.equal(await waiting, true);
});

test("the lock of a process that was killed is free", async (t) => {
  const path = join(folder(t), "vault.json");
  const program = `
    const database = new (require("node:sqlite").DatabaseSync)(process.argv[1]);
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    process.kill(process.pid, "SIGKILL");`;
  assert.throws(() => execFileSync(process.execPath, ["-e", program, `${path}.lock`]), {
    signal: "SIGKILL",
  });
  assert.equal(await whileLocked(path, () => 7, { patience: 0 }), 7);
});

test("where there can be no lock, the reason is told", async (t) => {
  const home = folder(t);
  await assert.rejects(
    whileLocked(join(home, "none", "vault.json"), () => 7),
    {
      code: "VAULT_UNREADABLE",
      message: /cannot lock it: ENOENT/,
    },
  );
  const path = join(home, "vault.json");
  fs.writeFileSync(`${path}.lock`, "what somebody has put there");
  await assert.rejects(
    whileLocked(path, () => 7),
    {
      code: "VAULT_UNREADABLE",
      message: /cannot lock it: file is not a database/,
    },
  );
});
