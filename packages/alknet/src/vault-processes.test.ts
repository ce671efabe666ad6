import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, renameSync, statSync } from "node:fs";
import { test } from "node:test";
import { type Outcome, type Program, run, start, type TestHome } from "./testing.ts";
import { startOnTerminal } from "./testing-terminal.ts";
import { PASSPHRASE, vaultHome } from "./testing-vault.ts";

interface Agent {
  readonly pid: number;
  readonly unlocked: boolean;
  readonly lockAfter?: number;
  readonly locksIn?: number;
  readonly sshAgentSocket: string;
}

async function json<Document>(home: TestHome, ...args: readonly string[]): Promise<Document> {
  const { code, stdout, stderr } = await run(home, [...args, "--json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Document;
}

const unlocked = async (home: TestHome): Promise<boolean> =>
  (await json<Agent>(home, "vault", "status")).unlocked;

const unlock = (home: TestHome, ...args: readonly string[]): Promise<Outcome> =>
  start(home, ["vault", "unlock", "--passphrase-stdin", ...args], `${PASSPHRASE}\n`).exited;

/** Ends an agent in the background, whatever has become of the test. */
function endAgent(home: TestHome): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      await start(home, ["vault", "agent", "--stop"]).exited;
    },
  };
}

async function node(home: TestHome): Promise<Program> {
  home.config('listen = ["127.0.0.1:0"]');
  const program = start(home, ["up", "--json"]);
  await program.ready;
  return program;
}

test("alknet vault unlock starts an agent that stays, lock has it forget, stop ends it", async () => {
  using home = await vaultHome();
  await using _agent = endAgent(home);
  const first = await unlock(home, "--json");
  assert.equal(first.code, 0, first.stderr);
  const { started, before, pid, locksIn } = JSON.parse(first.stdout) as Record<string, unknown>;
  assert.ok(Number.isInteger(locksIn));
  assert.deepEqual([started, before], [true, false]);
  assert.equal(statSync(home.home.run).mode & 0o777, 0o700);
  for (const socket of [home.home.vaultSocket, home.home.sshAgentSocket]) {
    assert.equal(statSync(socket).mode & 0o777, 0o600);
  }
  const again = await unlock(home, "--lock-after", "never", "--json");
  const second = JSON.parse(again.stdout) as Record<string, unknown>;
  assert.deepEqual([second["started"], second["before"], second["pid"]], [false, true, pid]);
  assert.equal(second["locksIn"], undefined);

  // Wanted or not, the passphrase is not what is to be sealed.
  const input = `${PASSPHRASE}\nhunter2`;
  const sealed = await run(home, ["vault", "encrypt", "--passphrase-stdin"], { input });
  const opened = await run(home, ["vault", "decrypt"], { input: sealed.stdout });
  assert.equal(opened.stdout, "hunter2");
  // What a vault refuses in another process ends a command as it does in its own.
  const unhardened = await run(home, ["vault", "derive", "m/0"]);
  assert.equal(unhardened.code, 2);
  assert.match(unhardened.stderr, /must be hardened .*\nhint: for example m\//);

  const { fingerprint } = await json<{ fingerprint: string }>(home, "id");
  assert.match(fingerprint, /^ed25519:/);
  assert.equal((await run(home, ["vault", "lock"])).stderr, "Locked.\n");
  assert.equal(await unlocked(home), false);
  assert.equal((await run(home, ["id"])).code, 5);
  const wrong = await start(home, ["vault", "unlock", "--passphrase-stdin"], "wrong\n").exited;
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /the passphrase is wrong/);

  assert.equal((await run(home, ["vault", "agent", "--stop"])).code, 0);
  assert.match((await run(home, ["vault", "status"])).stdout, /locked, and no agent runs/);
  // An agent that was started to be unlocked, and was not, does not stay.
  assert.equal(
    (await start(home, ["vault", "unlock", "--passphrase-stdin"], "wrong\n").exited).code,
    1,
  );
  assert.match((await run(home, ["vault", "status"])).stdout, /locked, and no agent runs/);
});

test("alknet vault agent --background prints what a shell evaluates, and starts no second one", async () => {
  using home = await vaultHome();
  await using _agent = endAgent(home);
  const begin = async (...args: string[]) =>
    (await start(home, ["vault", "agent", "--background", ...args]).exited).stdout;
  const lines = await begin();
  const evaluated = spawnSync("sh", ["-c", `${lines}\necho "$SSH_AUTH_SOCK"`], {
    encoding: "utf8",
  });
  const pid = /^Agent pid (\d+)$/m.exec(evaluated.stdout)?.[1];
  assert.ok(evaluated.stdout.endsWith(`${home.home.sshAgentSocket}\n`), evaluated.stderr);
  assert.equal(await begin(), lines);
  assert.match(await begin("--shell", "fish"), /^set -gx SSH_AUTH_SOCK /);
  assert.match(await begin("--shell", "csh"), /^setenv SSH_AUTH_SOCK /);
  const agent = await json<Agent>(home, "vault", "agent", "--background", "--lock-after", "8h");
  assert.equal(String(agent.pid), pid);
  assert.equal(agent.unlocked, false);
  const status = await json<{ agent: Agent }>(home, "vault", "status");
  assert.equal(status.agent.lockAfter, 28_800_000);
  const wrong = await run(home, ["vault", "agent", "--lock-after", "1ms"]);
  assert.match(wrong.stderr, /expected 1s to 30d, or never/);
});

test("alknet vault agent in the foreground serves until it is told to end, and is the only one", async () => {
  using home = await vaultHome();
  await using agent = start(home, ["vault", "agent", "--json"]);
  const { pid, unlocked: open } = await agent.ready;
  assert.deepEqual([pid, open], [agent.child.pid, false]);
  const second = await start(home, ["vault", "agent"]).exited;
  assert.equal(second.code, 1);
  assert.match(second.stderr, /a vault agent of this folder is running already/);
  agent.child.kill("SIGTERM");
  assert.equal((await agent.exited).code, 0);
  assert.equal(existsSync(home.home.vaultSocket), false);
});

test("alknet up with a vault that nothing opens ends with 5, and has told why", async () => {
  using home = await vaultHome();
  home.config('listen = ["127.0.0.1:0"]');
  const { code, stdout, stderr } = await start(home, ["up", "--json"]).exited;
  assert.equal(code, 5);
  assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, "VAULT_LOCKED");
  assert.match(stderr, /alknet: the vault is locked\nhint: alknet vault unlock\n$/);
  // It leaves nothing that looks like an agent.
  assert.equal(existsSync(home.home.vaultSocket), false);
});

test("alknet up asks a person for the passphrase, and is the vault's agent as long as it runs", async () => {
  using home = await vaultHome();
  home.config('listen = ["127.0.0.1:0"]');
  await using terminal = startOnTerminal(home, ["up"]);
  await terminal.until("Passphrase of the vault: ");
  terminal.type("wrong");
  await terminal.until("That is not it. Once more:");
  await terminal.until("Passphrase of the vault: ");
  terminal.type(PASSPHRASE);
  await terminal.until("ready");
  assert.equal(await unlocked(home), true);
  const { vault, fingerprint } = await json<{ vault: Agent; fingerprint: string }>(home, "status");
  assert.equal(vault.unlocked, true);
  assert.match(
    (await run(home, ["status"])).stdout,
    /^vault +unlocked, locks in .*SSH_AUTH_SOCK=/m,
  );
  assert.match(
    (await run(home, ["doctor"])).stdout,
    /ok {4}vault: unlocked; for ssh: SSH_AUTH_SOCK=/,
  );
  const stopped = await run(home, ["vault", "agent", "--stop"]);
  assert.match(stopped.stderr, /the agent is that of the node that runs/);

  // Locked, the node goes on, and is known by the same name; its own key is away.
  assert.equal((await run(home, ["vault", "lock"])).code, 0);
  assert.match((await run(home, ["status"])).stdout, /^vault +locked; /m);
  assert.equal((await run(home, ["id"])).stdout, `${fingerprint}\n`);
  const invited = await run(home, ["invite", "--address", "192.0.2.1:7433"]);
  assert.equal(invited.code, 0, invited.stderr);
  assert.equal((await run(home, ["ping", "192.0.2.1:1"])).code, 5);
  terminal.press("\u0003");
  assert.equal(await terminal.exited, 0);
  assert.equal(existsSync(home.home.vaultSocket), false);
});

test("alknet up takes the passphrase from stdin, for those who start it by a script", async () => {
  using home = await vaultHome();
  home.config('listen = ["127.0.0.1:0"]');
  await using program = start(home, ["up", "--json", "--passphrase-stdin"], `${PASSPHRASE}\n`);
  await program.ready;
  assert.equal(await unlocked(home), true);
});

test("alknet up takes the agent that runs, and leaves it running", async () => {
  using home = await vaultHome();
  await using _agent = endAgent(home);
  await unlock(home);
  await using program = await node(home);
  const { agent } = await json<{ agent: Agent }>(home, "vault", "status");
  assert.notEqual(agent.pid, program.child.pid);
  program.child.kill("SIGTERM");
  assert.equal((await program.exited).code, 0);
  assert.equal(await unlocked(home), true);
});

test("a node that runs follows vault.lock_after of its configuration", async () => {
  using home = await vaultHome();
  const key = `${home.folder}/vault.key`;
  const added = await run(
    home,
    ["vault", "unlock-key", "add", "--file", key, "--passphrase-stdin"],
    { input: `${PASSPHRASE}\n` },
  );
  assert.equal(added.code, 0, added.stderr);
  const config = ['listen = ["127.0.0.1:0"]', "[vault]", 'key_file = "vault.key"'];
  home.config(...config);
  await using program = start(home, ["up", "--json"]);
  await program.ready;
  const lockAfter = async () => (await json<{ vault: Agent }>(home, "status")).vault.lockAfter;
  assert.equal(await lockAfter(), 3_600_000);
  home.config(...config, 'lock_after = "2h"');
  assert.equal((await run(home, ["config", "reload"])).code, 0);
  assert.equal(await lockAfter(), 7_200_000);
  home.config(...config, 'lock_after = "1s"');
  assert.equal((await run(home, ["config", "reload"])).code, 0);
  // It hears of the lock by its log.
  while (!program.stderr().includes("the vault is locked")) {
    await once(program.child.stderr!, "data");
  }
  assert.equal(await unlocked(home), false);
  // What opens it is there still.
  assert.equal((await run(home, ["vault", "unlock"])).code, 0);
});

test("no vault is made or brought back while a node runs with another key", async () => {
  using home = await vaultHome();
  await using _agent = endAgent(home);
  await unlock(home);
  await using _program = await node(home);
  renameSync(home.home.vault, `${home.home.vault}.old`);
  const { code, stderr } = await run(home, ["vault", "create"]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /a node of this folder runs, with the key that it has now\nhint: stop it first/,
  );
});
