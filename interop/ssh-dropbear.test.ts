/**
 * Dropbear's `dbclient` at the SSH port of a node, with a key that `dropbearkey` has made and the host key in its
 * `known_hosts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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
      key = join(folder, "dropbear");
      const made = String(execFileSync("dropbearkey", ["-t", "ed25519", "-f", key]));
      return [/^ssh-ed25519 \S+/m.exec(made)?.[0] ?? ""];
    },
  );
  options = ["-p", String(it.port), "-i", key, "-l", it.login];
  know(readFileSync(it.knownHosts, "utf8"));
});

after(() => it[Symbol.asyncDispose]());

/** It looks for hosts without their ports. */
function know(knownHosts: string): void {
  mkdirSync(it.at("../home/.ssh"), { recursive: true });
  const text = knownHosts.replace(/^\S+/, "127.0.0.1");
  writeFileSync(it.at("../home/.ssh/known_hosts"), text);
}

const dbclient = (words: readonly string[], ...command: string[]) =>
  it.run("dbclient", ...options, ...words, "127.0.0.1", ...command);

test("dbclient runs a command: its output, its errors apart, and its exit status as they are", async () => {
  for (const status of [0, 7, 255]) {
    const command = `id -un; echo err >&2; exit ${status}`;
    const ended = await dbclient([], command).ended;
    assert.deepEqual(
      [ended.status, ended.stdout, ended.stderr],
      [status, `${it.login}\n`, "err\n"],
    );
  }
});

test("dbclient passes on its stdin, and what is printed, both to the last byte", async () => {
  const bytes = randomBytes(8 * 2 ** 20);
  writeFileSync(it.at("input"), bytes);
  const script = 'dbclient "$@" < input | sha256sum';
  const { stdout } = await it.run("sh", "-c", script, "sh", ...options, "127.0.0.1", "cat").ended;
  assert.equal(stdout, `${createHash("sha256").update(bytes).digest("hex")}  -\n`);
});

test("dbclient leaves a host key that is not the one it knows", async () => {
  const known = readFileSync(it.knownHosts, "utf8");
  const other = String(execFileSync("dropbearkey", ["-t", "ed25519", "-f", it.at("other")]));
  try {
    know(`127.0.0.1 ${/^ssh-ed25519 \S+/m.exec(other)?.[0]}\n`);
    const { status, stdout, stderr } = await dbclient([], "id").ended;
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /host key mismatch/i);
  } finally {
    know(known);
  }
});

test("dbclient -K is answered each time that it asks whether we are there", async () => {
  // It asks once a second, and leaves after three without a word from here. It asks the session while that has a stdin.
  const script = 'mkfifo open && exec 3<> open && exec dbclient -K 1 "$@" <&3';
  const words = [...options, "127.0.0.1", "sleep 6; echo there"];
  const { status, stdout, stderr } = await it.run("sh", "-c", script, "sh", ...words).ended;
  assert.deepEqual([status, stdout, stderr], [0, "there\n", ""]);
});

test("dbclient forwards by -L and -R, each direction to its end", async () => {
  await using target = await tcpServer((socket) => void socket.pipe(socket));
  const to = `127.0.0.1:${target.to.port}`;
  const [near, far] = [await freePort(), await freePort()];
  const words = ["-L", `${near}:${to}`, "-R", `${far}:${to}`];
  // What listens here does so before it asks for the command. Over there the command waits for it.
  const wait = `until grep -q ":${far.toString(16).toUpperCase()} .* 0A " /proc/net/tcp; do :; done`;
  await using program = dbclient(words, `${wait}; echo ready; exec sleep 1000`);
  await program.waitFor(/ready/);
  const bytes = randomBytes(2 ** 20);
  for (const port of [near, far]) {
    const socket = await reach(port);
    socket.end(bytes);
    assert.ok((await readAll(socket)).equals(bytes));
  }
});

test("dbclient is told what it may not do, and why", async () => {
  const { status, stderr } = await dbclient(["-T"]).ended;
  assert.equal(status, 126);
  assert.match(stderr, /lacks ssh:shell/);
});
