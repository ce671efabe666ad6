/**
 * What people and their editors do with stock OpenSSH, by a peer's name: connections that are shared and stay, forwards
 * added to them, git by URL, hops, agents, and keys changed under load.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { test } from "node:test";
import { tcpServer } from "@alknet/tunnel/testing";
import { freePort } from "@alknet/core/testing-port";
import { follow } from "./program.ts";
import { reach, readAll } from "./ssh-forwarding.ts";
import { startSshPort } from "./ssh-port.ts";
import { startSshServer } from "./ssh-server.ts";
import { type StockSsh, startStockSsh } from "./stock-ssh.ts";

test("a connection that stays behind its first command serves others, and forwards that are added and taken away", async () => {
  await using target = await tcpServer((socket) => void socket.pipe(socket));
  await using it = await startStockSsh(["ssh:exec", "tunnel:dial:localhost:*"]);
  const shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-S", it.at("control")];
  const first = await it.ssh(...shared, "-T", "den.alk", "echo up").ended;
  assert.deepEqual([first.status, first.stdout], [0, "up\n"], first.stderr);
  const programs = Array.from({ length: 8 }, (_, n) =>
    it.ssh(...shared, "den.alk", `echo ${n}; exit ${n}`),
  );
  for (const [n, { ended }] of programs.entries()) {
    const { status, stdout, stderr } = await ended;
    assert.deepEqual([status, stdout, stderr], [n, `${n}\n`, ""]);
  }
  const asked = await it.node.alknet("status", "--json");
  assert.equal((JSON.parse(asked.stdout) as { connectionCount: number }).connectionCount, 1);

  const port = await freePort();
  const forward = ["-L", `${port}:127.0.0.1:${target.to.port}`];
  const ask = async (command: string, ...words: string[]) => {
    const { status, stderr } = await it.ssh(...shared, "-O", command, ...words, "den.alk").ended;
    assert.equal(status, 0, stderr);
  };
  await ask("forward", ...forward);
  const bytes = randomBytes(2 ** 20);
  const socket = await reach(port);
  socket.end(bytes);
  assert.ok((await readAll(socket)).equals(bytes));
  await ask("cancel", ...forward);
  await assert.rejects(reach(port), { code: "ECONNREFUSED" });
  await ask("exit");
  await it.node.logged(/"by":"peer","code":0,.*"msg":"connection closed"/);
});

const gitAs = (it: StockSsh, words: readonly string[]) => {
  const ssh = ["ssh", ...it.config, "-l", it.login].join(" ");
  const who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=main"];
  return it.run("git", "-c", `core.sshCommand=${ssh}`, ...who, ...words).ended;
};

for (const [rights, mayPush] of [
  [["ssh:exec"], true],
  [["git init **", "git-upload-pack **"], false],
  [["git init **", "git-upload-pack **", "git-receive-pack **"], true],
] as const) {
  test(`git by ssh:// of who has ${rights.join(", ")} clones${mayPush ? ", and pushes" : ""}`, async () => {
    const scopes = rights.map((right) => (right === "ssh:exec" ? right : `ssh:exec:${right}`));
    await using it = await startStockSsh(scopes);
    const path = `${it.loginFolder}/alknet-${randomBytes(6).toString("hex")}`;
    const url = `ssh://den.alk${path}`;
    const git = async (...words: string[]): Promise<void> => {
      const { status, stderr } = await gitAs(it, words);
      assert.equal(status, 0, stderr);
    };
    const made = await it.ssh("den.alk", `git init -q --bare -b main '${path}'`).ended;
    assert.equal(made.status, 0, made.stderr);
    await using _ = { [Symbol.asyncDispose]: () => it.run("rm", "-rf", path).ended.then(() => {}) };
    await git("clone", "-q", url, it.at("repo"));
    writeFileSync(it.at("repo/file"), randomBytes(2 ** 20));
    await git("-C", it.at("repo"), "add", "file");
    await git("-C", it.at("repo"), "commit", "-q", "-m", "one");
    const pushed = await gitAs(it, ["-C", it.at("repo"), "push", "-q", "origin", "HEAD:main"]);
    if (mayPush) {
      assert.equal(pushed.status, 0, pushed.stderr);
      await git("clone", "-q", url, it.at("again"));
      assert.deepEqual(readFileSync(it.at("again/file")), readFileSync(it.at("repo/file")));
    } else {
      assert.notEqual(pushed.status, 0);
      assert.match(pushed.stderr, /lacks ssh:exec for this command/);
    }
  });
}

test("keys are changed at each mebibyte while data goes both ways, by a peer's name and at the port", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  const bytes = randomBytes(8 * 2 ** 20);
  writeFileSync(it.at("input"), bytes);
  const port = ["-F", "none", "-i", it.key, "-p", String(it.port)];
  for (const words of [
    [...it.config, "den.alk"],
    [...port, "-o", `UserKnownHostsFile=${it.knownHosts}`, "127.0.0.1"],
  ]) {
    const options = ["-v", "-o", "RekeyLimit=1M", "-l", it.login, ...words];
    const script = 'ssh "$@" cat < input | sha256sum';
    const { stdout, stderr } = await it.run("sh", "-c", script, "sh", ...options).ended;
    assert.equal(stdout, `${createHash("sha256").update(bytes).digest("hex")}  -\n`, stderr);
    const changes = stderr.split("SSH2_MSG_NEWKEYS received").length - 1;
    assert.ok(changes > 3, `${changes} changes`);
  }
});

test("ssh and a node agree on ML-KEM if that ssh has it, else on X25519", async () => {
  await using it = await startStockSsh(["ssh:exec"]);
  const { stdout } = await it.run("ssh", "-Q", "kex").ended;
  const best = ["mlkem768x25519-sha256", "curve25519-sha256"];
  const agreed = best.find((name) => stdout.split("\n").includes(name));
  const { stderr } = await it.ssh("-v", "den.alk", "true").ended;
  assert.ok(stderr.includes(`kex: algorithm: ${agreed}`), stderr);
});

test("ssh -D, -A and -J go through a peer", async () => {
  await using it = await startSshPort(["ssh:exec", "ssh:agent", "tunnel:dial:localhost:*"]);
  await using target = await tcpServer((socket) => void socket.end("from the target\n"));
  const proxy = await freePort();
  await using held = it.ssh("-v", "-N", "-D", `127.0.0.1:${proxy}`, "den.alk");
  await held.waitFor(/Entering interactive session/);
  const url = `http://localhost:${target.to.port}/`;
  const words = ["-sS", "--http0.9", "--socks5-hostname", `127.0.0.1:${proxy}`, url];
  const got = await it.run("curl", ...words).ended;
  assert.deepEqual([got.stdout, got.stderr], ["from the target\n", ""]);

  const path = it.at("agent");
  await using agent = follow(spawn("ssh-agent", ["-D", "-a", path]), "ssh-agent");
  await agent.waitFor(/SSH_AUTH_SOCK/);
  const added = await it.run("env", `SSH_AUTH_SOCK=${path}`, "ssh-add", "-q", it.key).ended;
  assert.equal(added.status, 0, added.stderr);
  const withAgent = ["-o", `IdentityAgent=${path}`];
  const listed = await it.ssh(...withAgent, "-A", "den.alk", "ssh-add -l").ended;
  assert.match(listed.stdout, /^256 SHA256:\S+ .*\(ED25519\)\n$/, listed.stderr);

  await using server = await startSshServer([readFileSync(`${it.key}.pub`, "utf8").trim()]);
  writeFileSync(it.at("known"), `[127.0.0.1]:${server.port} ${server.hostKey}\n`);
  const options = [...withAgent, "-o", `UserKnownHostsFile=${it.at("known")}`];
  const jump = ["-J", `${it.login}@den.alk`, "-p", String(server.port), "-l", userInfo().username];
  const hop = await it.run("ssh", ...it.config, ...options, ...jump, "127.0.0.1", "exit 7").ended;
  assert.equal(hop.status, 7, hop.stderr);
});
