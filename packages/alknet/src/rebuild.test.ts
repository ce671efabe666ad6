import assert from "node:assert/strict";
import { copyFileSync, existsSync, rmSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Program, start, testHome, type TestHome } from "./testing.ts";

const PASSPHRASE = "correct horse battery staple";
const TOKEN = "ghp_0123456789";

/** A command in a process of its own. @returns what it printed. */
async function alknet(home: TestHome, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await start(home, args, input).exited;
  assert.equal(code, 0, `alknet ${args.join(" ")}: ${stderr}`);
  return stdout;
}

async function json(home: TestHome, args: readonly string[], input?: string) {
  return JSON.parse(await alknet(home, [...args, "--json"], input)) as Record<string, unknown>;
}

/** The agent of a home, while the test runs. */
async function unlock(home: TestHome): Promise<AsyncDisposable> {
  await alknet(home, ["vault", "unlock", "--passphrase-stdin"], `${PASSPHRASE}\n`);
  return {
    async [Symbol.asyncDispose]() {
      // It has ended, if the test went well.
      await start(home, ["vault", "agent", "--stop"]).exited;
    },
  };
}

async function stop({ child, exited }: Program): Promise<void> {
  child.kill("SIGTERM");
  assert.equal((await exited).code, 0);
}

test("a node whose folder is gone comes back from its words, and with its database everything does", async () => {
  using den = testHome();
  using laptop = testHome();
  using safe = testHome();
  const config = 'name = "den"\nlisten = ["127.0.0.1:0"]';
  const backup = join(safe.folder, "alknet.db");

  // A node with a vault, a peer and a credential.
  const create = ["vault", "create", "--force", "--no-check", "--passphrase-stdin"];
  const made = await json(den, create, `${PASSPHRASE}\n`);
  const { words, fingerprint, sshHostKey } = made as Record<string, string>;
  assert.equal(words!.split(" ").length, 24);
  den.config(config);
  let peers: unknown;
  {
    await using _agent = await unlock(den);
    await using node = start(den, ["up", "--json"]);
    assert.equal((await node.ready)["fingerprint"], fingerprint);
    const ticket = await alknet(den, ["invite", "--name", "laptop", "--grant", "git:read"]);
    await alknet(laptop, ["join", ticket.trim()]);
    await alknet(laptop, ["ping", "den", "--count", "1"]);
    await alknet(den, ["credential", "set", "github"], TOKEN);
    peers = await json(den, ["peers"]);
    assert.equal((await alknet(den, ["id"])).trim(), fingerprint);
    await stop(node);
    await alknet(den, ["vault", "agent", "--stop"]);
  }
  copyFileSync(den.home.database, backup);

  rmSync(den.folder, { recursive: true });
  mkdirSync(den.folder, { mode: 0o700 });

  // The words give back who it is.
  const imported = await json(
    den,
    ["vault", "import", "--passphrase-stdin"],
    `${PASSPHRASE}\n${words}\n`,
  );
  assert.equal(imported["fingerprint"], fingerprint);
  assert.equal(imported["sshHostKey"], sshHostKey);
  assert.ok(!existsSync(den.home.identity), "no other key is made beside it");

  // The database gives back whom it knows, and what it kept: sealed by a key of the same words.
  copyFileSync(backup, den.home.database);
  den.config(config);
  await using _agent = await unlock(den);
  await using node = start(den, ["up", "--json"]);
  const { fingerprint: again, addresses } = await node.ready;
  assert.equal(again, fingerprint);
  assert.deepEqual(await json(den, ["peers"]), peers);
  assert.equal(await alknet(den, ["credential", "get", "github"]), TOKEN);
  // And the peer finds the node that it has known all along, at its new port.
  await alknet(laptop, ["ping", `${fingerprint}@${(addresses as string[])[0]}`, "--count", "1"]);
  await stop(node);
  assert.equal((await json(den, ["vault", "lock"]))["before"], true);
});
