/**
 * PuTTY's `plink` and `pscp` at the SSH port of a node, with a key that `puttygen` has made and the host key pinned.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { tcpServer } from "@alknet/tunnel/testing";
import { freePort } from "@alknet/core/testing-port";
import { reach, readAll } from "./ssh-forwarding.ts";
import { type SshPort, startSshPort } from "./ssh-port.ts";

let it: SshPort;
let options: string[];

before(async () => {
  let key = "";
  it = await startSshPort(
    ["ssh:exec", "tunnel:dial:localhost:*", "tunnel:listen:localhost:*"],
    (folder) => {
      key = join(folder, "key.ppk");
      const words = ["-q", "-t", "ed25519", "-O", "private", "-o", key];
      execFileSync("puttygen", [...words, "--new-passphrase", "/dev/null"]);
      return [String(execFileSync("puttygen", ["-L", key])).trim()];
    },
  );
  options = ["-batch", "-P", String(it.port), "-i", key, "-hostkey", it.hostKey];
});

after(() => it[Symbol.asyncDispose]());

const plink = (...words: string[]) => it.run("plink", ...options, ...words);
const host = (): string => `${it.login}@127.0.0.1`;

test("plink runs a command: its output, its errors apart, and its exit status as they are", async () => {
  for (const status of [0, 7, 255]) {
    const command = `id -un; echo err >&2; exit ${status}`;
    const ended = await plink(host(), command).ended;
    assert.deepEqual(
      [ended.status, ended.stdout, ended.stderr],
      [status, `${it.login}\n`, "err\n"],
    );
  }
});

test("plink abandons a host key that is not the pinned one", async () => {
  const words = options.map((word) => (word === it.hostKey ? `SHA256:${"A".repeat(43)}` : word));
  const { status, stdout, stderr } = await it.run("plink", ...words, host(), "id").ended;
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(stderr, /Host key not in manually configured list/);
});

test("plink is told what it may not do, and why", async () => {
  const { status, stdout, stderr } = await plink(`nobody@127.0.0.1`, "id").ended;
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(stderr, /No supported authentication methods available|key refused/i);
  const shell = await plink("-T", host()).ended;
  assert.equal(shell.status, 126);
  assert.match(shell.stderr, /lacks ssh:shell/);
});

test("pscp carries a file both ways, to the last byte", async () => {
  const bytes = randomBytes(8 * 2 ** 20);
  writeFileSync(it.at("file"), bytes);
  const copy = async (from: string, to: string): Promise<void> => {
    const { status, stderr } = await it.run("pscp", "-scp", "-q", ...options, from, to).ended;
    assert.equal(status, 0, stderr);
  };
  await copy(it.at("file"), `${host()}:by-pscp`);
  await copy(`${host()}:by-pscp`, it.at("back"));
  assert.deepEqual(readFileSync(it.at("back")), bytes);
});

test("plink sends all of its stdin, and learns the status of a program that reads none of it", async () => {
  writeFileSync(it.at("input"), randomBytes(8 * 2 ** 20));
  const sum = it.run("sh", "-c", 'plink "$@" < input', "sh", ...options, host(), "sha256sum");
  const expected = it.run("sh", "-c", "sha256sum < input");
  assert.equal((await sum.ended).stdout, (await expected.ended).stdout);
  for (let round = 0; round < 5; round++) {
    const deaf = it.run("sh", "-c", 'plink "$@" < input', "sh", ...options, host(), "exit 3");
    const { status, stderr } = await deaf.ended;
    assert.deepEqual([status, stderr], [3, ""]);
  }
});

test("plink forwards by -L and -R, each direction to its end", async () => {
  await using target = await tcpServer((socket) => void socket.pipe(socket));
  const to = `127.0.0.1:${target.to.port}`;
  const [near, far] = [await freePort(), await freePort()];
  await using program = plink("-v", "-N", "-L", `${near}:${to}`, "-R", `${far}:${to}`, host());
  await program.waitFor(/Local port \d+ forwarding to/);
  await program.waitFor(/Remote port forwarding from \S+ enabled/);
  const bytes = randomBytes(2 ** 20);
  for (const port of [near, far]) {
    const socket = await reach(port);
    socket.end(bytes);
    assert.ok((await readAll(socket)).equals(bytes));
  }
});
