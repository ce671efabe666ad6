/**
 * OpenSSH's `ssh` at the SSH port of a node (`[ssh] listen`), with a key of its own: who gets in, and as whom.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { Program } from "./program.ts";
import { type SshPort, startSshPort } from "./ssh-port.ts";
import { CANNOT_MAKE_ACCOUNTS } from "./system-account.ts";

test("ssh logs in by a key that is the peer's, as the user whom the peer is mapped to", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  const { status, stdout, stderr } = await ssh(it, {}, "id -un; pwd; echo err >&2; exit 7").ended;
  assert.deepEqual([status, stdout, stderr], [7, `${it.login}\n${it.loginFolder}\n`, "err\n"]);
});

test("a login name that the peer is not mapped to is refused, root above all", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  const others = CANNOT_MAKE_ACCOUNTS === false ? ["root", "daemon"] : ["daemon"];
  for (const login of others) {
    const { status, stderr } = await ssh(it, { login }, "id").ended;
    assert.equal(status, 255);
    assert.match(stderr, /Permission denied \(publickey\)/);
    await it.node.logged(new RegExp(`ssh: refused: .*may log in as .*, not as \\\\"${login}`));
  }
});

test("a certificate of a user is refused, with the reason in the log", async () => {
  let certified = "";
  await using it = await startSshPort(["ssh:exec"], (folder) => {
    // Whose signature stands under it is a peer's key; the certified key is nobody's.
    certified = join(folder, "certified");
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", certified);
    keygen("-q", "-s", join(folder, "key"), "-I", "laptop", "-n", "me", `${certified}.pub`);
    return [];
  });
  const { status, stderr } = await ssh(it, { key: certified }, "id").ended;
  assert.equal(status, 255);
  assert.match(stderr, /Permission denied \(publickey\)/);
  await it.node.logged(/certificates of users are not served: a peer has its keys itself/);
});

test("a peer logs in within a second beside a thousand connections of strangers", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  // Ten of each source: of one that has more, the oldest would go.
  const strangers = await Promise.all(
    Array.from({ length: 1_000 }, (_, number) => open(it.port, `127.0.1.${1 + (number % 100)}`)),
  );
  try {
    // Whose programs are compiled by now, and cached.
    assert.equal((await ssh(it, {}, "true").ended).status, 0);
    // The best of some: the machine may be busy with something else for one of them.
    const times: number[] = [];
    for (let each = 0; each < 3; each++) {
      const begin = performance.now();
      const { status, stderr } = await ssh(it, {}, "true").ended;
      assert.equal(status, 0, stderr);
      times.push(performance.now() - begin);
    }
    assert.ok(Math.min(...times) < 1_000, `it took ${Math.min(...times)} ms`);
    assert.ok(strangers.every((each) => !each.closed));
  } finally {
    for (const socket of strangers) socket.destroy();
  }
});

/** Run a command by `ssh`. @param options another login name, another private key. */
function ssh(it: SshPort, options: { login?: string; key?: string }, command: string): Program {
  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  const words = [
    ...["-F", "none", "-p", String(it.port), "-i", options.key ?? it.key],
    ...set("UserKnownHostsFile", it.knownHosts),
    ...set("StrictHostKeyChecking", "yes"),
    ...set("IdentitiesOnly", "yes"),
    ...set("BatchMode", "yes"),
  ];
  return it.run("ssh", ...words, "-l", options.login ?? it.login, "127.0.0.1", command);
}

function keygen(...words: string[]): void {
  execFileSync("ssh-keygen", words, { stdio: "ignore" });
}

/** @param from of loopback. */
function open(port: number, from: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, localAddress: from }, () => resolve(socket));
    socket.once("error", reject);
    socket.on("error", () => {});
    socket.resume();
  });
}
