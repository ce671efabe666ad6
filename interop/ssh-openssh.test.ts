/**
 * OpenSSH's `ssh` against `alknet/ssh` on a plain TCP listener, on loopback.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { type OpenSsh, startOpenSsh } from "./openssh-client.ts";

/** 8 MiB, no two parts of it the same. */
const TEXT = Array.from({ length: 2 ** 20 }, (_, at) => at.toString(16).padStart(7, "0"))
  .join(" ")
  .concat("\n");

test("ssh runs a command: its output, its errors apart, and its exit status as they are", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  for (const status of [0, 1, 7, 255]) {
    const ended = await it.run([], `echo out; echo err >&2; exit ${status}`).ended;
    assert.deepEqual([ended.status, ended.stdout, ended.stderr], [status, "out\n", "err\n"]);
  }
  assert.equal(it.server.sessions, 0);
});

test("ssh is told of the signal that ended a command", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  for (const name of ["TERM", "KILL", "USR1"]) {
    const { status, stderr } = await it.run(["-v"], `kill -${name} $$`).ended;
    assert.equal(status, 255);
    assert.match(stderr, /rtype exit-signal/);
  }
});

test("ssh passes on what is typed and its end, and what is printed, both to the last byte", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const program = it.run([], "tee /dev/stderr | sha256sum; cat text; cat text >&2; cat text");
  writeFileSync(it.at("text"), TEXT);
  program.write(TEXT);
  program.end();
  const { status, stderr } = await program.ended;
  assert.equal(status, 0);
  assert.equal(program.sum(), sumOf(`${sumOf(TEXT)}  -\n${TEXT}${TEXT}`));
  assert.ok(stderr.endsWith(TEXT.slice(-1_000)));
});

test("ssh logs in with a key that is a peer's, and with no other", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  it.identities.replace([]);
  const { status, stderr } = await it.run([], "true").ended;
  assert.equal(status, 255);
  assert.match(stderr, /Permission denied \(publickey\)/);
  assert.match(it.refused[0]?.reason ?? "", /^key ed25519:[0-9a-f]{64} is nobody's$/);
});

test("ssh is refused a login by a peer without any right that SSH serves", async () => {
  await using it = await startOpenSsh(["call:invoke"]);
  assert.match((await it.run([], "true").ended).stderr, /Permission denied/);
  assert.match(it.refused[0]?.reason ?? "", /has no right that SSH serves/);
});

test("ssh runs a command that a pattern covers, without a shell, and hears why not of others", async () => {
  await using it = await startOpenSsh(["ssh:exec:echo **", "ssh:exec:missing"]);
  const said = async (command: string) => {
    const { status, stdout, stderr } = await it.run([], command).ended;
    return [status, stdout, stderr] as const;
  };
  assert.deepEqual(await said("echo 'a  b;' \"c\""), [0, "a  b; c\n", ""]);
  const [, , noShell] = await said("echo a; id");
  assert.match(noShell, /cannot run the command without a shell: it has ";"/);
  const [status, stdout, notAllowed] = await said("id");
  assert.deepEqual([status, stdout], [126, ""]);
  assert.match(notAllowed, /lacks ssh:exec for this command/);
  assert.equal(it.refused.at(-1)?.scope, "ssh:exec:id");
  const [notFound] = await said("missing");
  assert.equal(notFound, 127);
  // No terminal, no shell, no subsystem, and no forwarding.
  assert.match((await it.run(["-T"]).ended).stderr, /lacks ssh:shell/);
  const subsystem = await it.run(["-s"], "sftp").ended;
  assert.equal(subsystem.status, 126);
  assert.match(subsystem.stderr, /"sftp" is not served here/);
  const forward = it.run(["-W", "127.0.0.1:1"]);
  assert.match((await forward.ended).stderr, /administratively prohibited/);
  assert.match((await it.run(["-v", "-A"], "echo x").ended).stdout, /x/);
});

test("ssh sends variables that are on the list, and no others", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const options = ["-o", "SetEnv=LANG=xx LC_TIME=yy LD_PRELOAD=/x GIT_PROTOCOL=2 PATH=/evil"];
  const { stdout } = await it.run(options, "env").ended;
  for (const line of ["LANG=xx", "LC_TIME=yy", "GIT_PROTOCOL=2", "ALKNET_PEER=laptop"]) {
    assert.ok(stdout.includes(`${line}\n`), line);
  }
  assert.doesNotMatch(stdout, /LD_PRELOAD|evil/);
});

test("ssh has a shell on a terminal, which follows the window", async () => {
  await using it = await startOpenSsh(["ssh:shell"]);
  const program = it.run(["-tt"]);
  program.write("stty rows 31 cols 97; stty size; [ -t 0 ] && [ -t 2 ] && echo is-'a-tty' $TERM\n");
  await program.waitFor(/31 97/);
  await program.waitFor(/is-a-tty \S+/);
  program.write("exit 9\n");
  assert.equal((await program.ended).status, 9);
});

test("ssh opens ten sessions on one connection", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  await using master = await startMaster(it);
  const all = Array.from({ length: 10 }, (_, at) =>
    master.run(`read x; echo ${at} $x; exit ${at}`),
  );
  for (const program of all) program.write("go");
  for (const program of all) program.end();
  for (const [at, program] of all.entries()) {
    const { status, stdout } = await program.ended;
    assert.deepEqual([status, stdout], [at, `${at} go\n`]);
  }
});

for (const [cipher, who] of [
  ["chacha20-poly1305@openssh.com", "client"],
  ["aes128-gcm@openssh.com", "client"],
  ["chacha20-poly1305@openssh.com", "server"],
  ["aes256-gcm@openssh.com", "server"],
] as const) {
  test(`keys are changed under load by the ${who}, with ${cipher}`, async () => {
    const rekeyAfter = who === "server" ? 2 ** 20 : undefined;
    await using it = await startOpenSsh(["ssh:exec"], { rekeyAfter });
    const options = ["-v", "-c", cipher, ...(who === "client" ? ["-o", "RekeyLimit=1M"] : [])];
    const program = it.run(options, "cat");
    program.write(TEXT);
    program.end();
    const { status, stderr } = await program.ended;
    assert.equal(status, 0);
    assert.equal(program.sum(), sumOf(TEXT));
    const changes = stderr.split("SSH2_MSG_NEWKEYS received").length - 1;
    assert.ok(changes > 3, `${changes} changes`);
  });
}

test("taking back ssh:exec ends the command with all that it started, and nothing else", async () => {
  await using it = await startOpenSsh(["ssh:exec", "ssh:shell"]);
  await using master = await startMaster(it);
  const command = master.run("sleep 1000 & echo $!; (setsid -f true; sleep 1000) & wait");
  const [, pid = ""] = await command.waitFor(/^(\d+)$/m);
  const shell = master.run();
  shell.write("echo ready\n");
  await shell.waitFor(/ready/);
  it.allow(["ssh:shell"]);
  const { status, stderr } = await command.ended;
  assert.equal(status, 255);
  assert.match(stderr, /access revoked/);
  assert.ok(!isAlive(pid));
  shell.write("echo still'-'there; exit 3\n");
  await shell.waitFor(/still-there/);
  assert.equal((await shell.ended).status, 3);
});

test("taking back the key ends the connection, and its programs", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const program = it.run([], "echo $$; exec sleep 1000");
  const [, pid = ""] = await program.waitFor(/^(\d+)$/m);
  it.identities.replace([]);
  assert.equal((await program.ended).status, 255);
  await until(() => !isAlive(pid));
  await until(() => it.server.sessions === 0);
});

test("a client that is gone leaves no process behind", async () => {
  await using it = await startOpenSsh(["ssh:exec"]);
  const program = it.run([], "trap '' HUP TERM; sleep 1000 & echo $!; wait");
  const [, pid = ""] = await program.waitFor(/^(\d+)$/m);
  await program.stop("SIGKILL");
  await until(() => !isAlive(pid));
  await until(() => it.server.sessions === 0);
});

function sumOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** One connection that others share (`ControlMaster`). */
async function startMaster(it: OpenSsh) {
  const socket = ["-S", it.at("control")];
  const master = it.run(["-v", "-M", "-N", ...socket]);
  await master.waitFor(/Entering interactive session/);
  return {
    run: (...command: string[]) => it.run(["-T", ...socket], ...command),
    // By SIGTERM it would wait for something to happen, if that came just before it polls.
    async [Symbol.asyncDispose]() {
      await master.stop("SIGKILL");
    },
  };
}

function isAlive(pid: string): boolean {
  if (!readdirSync("/proc").includes(pid)) return false;
  // One that nobody has waited for has ended too.
  return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}
