/**
 * `ssh -A` of OpenSSH through `alknet/ssh`: a real `ssh-agent`, and a hop by its keys.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { follow, type Program } from "./program.ts";
import { type Forwarding, reach, readAll, startForwarding, until } from "./ssh-forwarding.ts";

const RIGHTS = ["ssh:exec", "ssh:agent", "tunnel:dial:localhost:*"];

/** A real agent that has the key which `run` logs in with. */
async function startAgent(it: Forwarding): Promise<Program & { readonly options: string[] }> {
  const path = it.at("agent");
  const agent = follow(spawn("ssh-agent", ["-D", "-a", path]), "ssh-agent");
  await agent.waitFor(/SSH_AUTH_SOCK/);
  const env = { ...process.env, SSH_AUTH_SOCK: path };
  const added = await follow(spawn("ssh-add", ["-q", it.at("user")], { env }), "ssh-add").ended;
  assert.equal(added.status, 0, added.stderr);
  return Object.assign(agent, { options: ["-A", "-o", `IdentityAgent=${path}`] });
}

test("a command on the far side lists the keys of the client's agent, at a socket of its own", async () => {
  await using it = await startForwarding(RIGHTS);
  await using agent = await startAgent(it);
  const program = it.run(agent.options, "ssh-add -l; echo $SSH_AUTH_SOCK; read end");
  const [, path = ""] = await program.waitFor(/^(\/.*socket)$/m);
  assert.match(program.stdout, /^256 SHA256:\S+ .*\(ED25519\)$/m);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
  program.end();
  await program.ended;
  await until(() => !existsSync(dirname(dirname(path))));
});

test("two sessions of one connection have an agent each, and without -A there is none", async () => {
  await using it = await startForwarding(RIGHTS);
  await using agent = await startAgent(it);
  await using held = await it.hold(...agent.options);
  const command = "echo at $SSH_AUTH_SOCK; ssh-add -l; read end";
  const programs = [1, 2].map(() => held.run(["-A"], command));
  const paths = await Promise.all(
    programs.map(async (program) => {
      await program.waitFor(/ED25519/);
      return (await program.waitFor(/^at (\/.*)$/m))[1] ?? "";
    }),
  );
  assert.notEqual(paths[0], paths[1]);
  programs[0]?.end();
  await programs[0]?.ended;
  await until(() => !existsSync(paths[0] ?? ""));
  assert.ok(existsSync(paths[1] ?? ""));
  assert.equal((await held.run(["-a"], "echo at $SSH_AUTH_SOCK").ended).stdout, "at\n");
});

test("a peer without ssh:agent has no agent there, and its command runs", async () => {
  await using it = await startForwarding(["ssh:exec"]);
  await using agent = await startAgent(it);
  const { status, stdout } = await it.run(agent.options, "echo at $SSH_AUTH_SOCK").ended;
  assert.deepEqual([status, stdout], [0, "at\n"]);
  assert.equal(it.refused.at(-1)?.scope, "ssh:agent");
});

test("taking back ssh:agent ends the agent and what talks to it, and not the command", async () => {
  await using it = await startForwarding(RIGHTS);
  await using agent = await startAgent(it);
  const program = it.run(agent.options, "echo at $SSH_AUTH_SOCK; read line; echo $line");
  const [, path = ""] = await program.waitFor(/^at (\/.*)$/m);
  const talking = await reach(path);
  it.allow(RIGHTS.filter((right) => right !== "ssh:agent"));
  assert.equal(existsSync(dirname(dirname(path))), false);
  assert.equal((await readAll(talking)).length, 0);
  program.write("still there\n");
  await program.waitFor(/still there/);
});

test("a client that is gone leaves no socket of an agent behind", async () => {
  await using it = await startForwarding(RIGHTS);
  await using agent = await startAgent(it);
  const program = it.run(agent.options, "echo at $SSH_AUTH_SOCK; sleep 1000");
  const [, path = ""] = await program.waitFor(/^at (\/.*)$/m);
  await program.stop("SIGKILL");
  await until(() => !existsSync(dirname(dirname(path))));
});

test("a hop from the far side is logged in by the client's agent; so is one by -J", async () => {
  await using it = await startForwarding(RIGHTS);
  await using agent = await startAgent(it);
  const known = ["-o UserKnownHostsFile=" + it.at("known"), "-o GlobalKnownHostsFile=none"];
  const options = ["-F none", "-o BatchMode=yes", ...known, `-p ${it.port}`].join(" ");
  const hop = `ssh ${options} me@127.0.0.1 'echo $ALKNET_PEER; exit 9'`;
  const { status, stdout, stderr } = await it.run(agent.options, hop).ended;
  assert.deepEqual([status, stdout], [9, "laptop\n"], stderr);

  const config = it.config("first", "second");
  const words = ["-F", config, ...agent.options, "-J", "first", "second", "ssh-add -l"];
  const jumped = await follow(spawn("ssh", words), "ssh").ended;
  assert.match(jumped.stdout, /ED25519/, jumped.stderr);
});
