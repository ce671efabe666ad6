import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { vaultHome } from "alknet/testing-vault";
import { machines } from "./alknet-ssh.ts";
import { follow } from "./program.ts";

test("a command's exit status and signal are those of alknet ssh; its outputs are apart, its stdin ends", async () => {
  await using it = await machines(["ssh:exec"]);
  const mixed = await it.run(["den", "cat; echo oops >&2; exit 7"], { input: "typed" });
  assert.deepEqual([mixed.code, mixed.stdout, mixed.stderr], [7, "typed", "oops\n"]);
  assert.equal((await it.run(["den", "kill -TERM $$"])).code, 128 + 15);
  const nothing = await it.run(["-n", "den", "cat; echo end"], { input: "not sent" });
  assert.equal(nothing.stdout, "end\n");
  assert.equal((await it.run(["den", "id", "-un"])).stdout, `${it.account}\n`);
  assert.equal((await it.run(["den.alk", "--", "echo", "-n", "x"])).stdout, "x");
});

test("who stops reading its output ends alknet ssh, and the program over there", async () => {
  await using it = await machines(["ssh:exec"]);
  const process = it.spawn(["den", `echo $$; exec yes`]);
  const [first] = (await once(process.stdout, "data")) as [Buffer];
  const ended = once(process, "exit");
  process.stdout.destroy();
  await ended;
  await endOf(Number(String(first).split("\n")[0]));
});

test("SIGTERM and SIGHUP end alknet ssh in order, and the program over there", async () => {
  await using it = await machines(["ssh:exec"]);
  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    const process = it.spawn(["den", "echo $$; exec sleep 1000"]);
    const [first] = (await once(process.stdout, "data")) as [Buffer];
    const ended = once(process, "exit");
    process.kill(signal);
    assert.deepEqual(await ended, [130, null]);
    await endOf(Number(String(first).split("\n")[0]));
  }
});

test("what goes through alknet ssh is binary, both ways", async () => {
  await using it = await machines(["ssh:exec"]);
  const bytes = Buffer.alloc(
    3_000_000,
    Uint8Array.from({ length: 256 }, (_, index) => index),
  );
  const back = await buffer(it.spawn(["den", "cat"], { input: bytes }).stdout);
  assert.ok(back.equals(bytes));
});

test("variables go along: those of the language, and those of --env", async () => {
  await using it = await machines(["ssh:exec"]);
  const given = [
    "--env",
    "LC_MARK=a=b c",
    "--env",
    "LANG=C",
    "--env",
    "LC_TIME=",
    "--env",
    "BAD=1",
  ];
  const env = { LC_PAPER: "de_DE", LANG: "de_DE.UTF-8", LC_TIME: "de_DE" };
  const said = await it.run(
    [...given, "den", 'echo "$LC_MARK|$LC_PAPER|$LANG|${LC_TIME-none}|$BAD"'],
    { env },
  );
  assert.deepEqual([said.stdout, said.stderr], ["a=b c|de_DE|C||\n", ""]);
  const wrong = await it.run(["--env", "1=2", "den", "true"]);
  assert.deepEqual([wrong.code, /NAME=VALUE/.test(wrong.stderr)], [2, true]);
});

test("the login name is that of -l, or before the peer; another one than we have is refused", async () => {
  await using it = await machines(["ssh:exec"]);
  for (const words of [["-l", it.account, "den"], [`${it.account}@den`]]) {
    assert.equal((await it.run([...words, "id", "-un"])).stdout, `${it.account}\n`);
  }
  for (const words of [["-l", "nobody", "den"], ["nobody@den"]]) {
    const refused = await it.run([...words, "true"]);
    assert.deepEqual([refused.code, refused.stdout], [3, ""]);
    assert.match(refused.stderr, /not allowed: den does not let this node in.*"nobody"[^]*hint: /);
  }
});

test("the agent is there over there", async () => {
  await using it = await machines(["ssh:exec", "ssh:agent"]);
  const socket = join(it.folder, "agent.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "inherit"] });
  await once(agent.stdout, "data");
  const env = { SSH_AUTH_SOCK: socket };
  const key = join(it.folder, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "forwarded", "-f", key]);
  execFileSync("ssh-add", ["-q", key], { env: { ...process.env, ...env }, stdio: "ignore" });
  const listed = await it.run(["-A", "den", "ssh-add", "-l"], { env });
  agent.kill();
  await once(agent, "close");
  assert.match(listed.stdout, /forwarded \(ED25519\)/);
});

test("a peer is reached through others, with TLS from end to end, and the gate's no is told", async () => {
  await using it = await machines(["ssh:exec"]);
  await using gate = await it.node("gate", [`tunnel:dial:${it.den.address}`]);
  const through = await it.run(["-J", "gate", "den", "echo", "through"]);
  assert.deepEqual([through.stdout, through.stderr], ["through\n", ""]);
  assert.equal((await it.run(["-J", "gate,gate", "den", "true"])).code, 3);
  await gate.stop();
  await using _closed = await it.node("shut", []);
  const refused = await it.run(["-J", "shut", "den", "true"]);
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /shut[^]*hint: on shut: alknet peers grant NAME tunnel:dial/);
});

test("who is not let in, or not there, is told what to do, by the exit code too", async () => {
  await using it = await machines(["tunnel:dial:localhost:1"]);
  for (const [command, scope] of [
    [["ls", "-l"], "'ssh:exec:ls -l'|ssh:exec"],
    [[], "ssh:shell"],
  ] as const) {
    const denied = await it.run(["den", ...command]);
    assert.equal(denied.code, 3);
    assert.match(
      denied.stderr,
      new RegExp(`lacks ssh:[^]*hint: over there: alknet peers grant NAME (?:${scope})\n$`),
    );
  }
  const unknown = await it.run(["dem", "true"]);
  assert.deepEqual([unknown.code, /did you mean "den/.test(unknown.stderr)], [2, true]);
  await it.den.stop();
  const away = await it.run(["den", "true"]);
  assert.deepEqual([away.code, /cannot reach den/.test(away.stderr)], [4, true]);
});

test("a vault that is locked is told, with what unlocks it", async () => {
  await using it = await machines([]);
  using locked = await vaultHome();
  const { code, stdout, stderr } = await it.run(["den", "true"], {
    env: { ALKNET_HOME: locked.folder },
  });
  assert.deepEqual([code, stdout], [5, ""]);
  assert.match(stderr, /locked[^]*hint: [^\n]*alknet vault unlock/);
});

test("an address without a key is taken with --accept-new, and held to its key from then on", async () => {
  await using it = await machines(["ssh:exec"]);
  const { address } = it.den;
  const asked = await it.run([address, "echo in"]);
  assert.deepEqual([asked.code, asked.stdout], [4, ""]);
  assert.match(asked.stderr, /ed25519:[^]*--accept-new/);
  const first = await it.run(["--accept-new", address, "echo in"]);
  assert.deepEqual([first.code, first.stdout], [0, "in\n"]);
  assert.match(first.stderr, /is known by ed25519:\w+ from now on/);
  for (const flags of [[], ["--accept-new"]]) {
    const again = await it.run([...flags, address, "echo in"]);
    assert.deepEqual([again.code, again.stdout, again.stderr], [0, "in\n", ""]);
  }
  await it.den.stop();
  await using _other = await it.node("other", ["ssh:exec"], address);
  for (const flags of [[], ["--accept-new"]]) {
    const changed = await it.run([...flags, address, "echo in"]);
    assert.deepEqual([changed.code, changed.stdout], [4, ""]);
    assert.match(changed.stderr, /key/);
  }
});

test("--persist does not run a command twice: it is over with its connection", async () => {
  await using it = await machines(["ssh:exec"]);
  const program = follow(it.spawn(["--persist", "den", "echo ran; sleep 1000"]), "alknet ssh");
  await program.waitFor(/ran/);
  await it.den.stop();
  const { status, stdout } = await program.ended;
  assert.deepEqual([status, stdout], [255, "ran\n"]);
});

/** Resolves when the process is gone. */
async function endOf(pid: number): Promise<void> {
  await once(spawn("tail", [`--pid=${pid}`, "-f", "/dev/null"]), "close");
}
