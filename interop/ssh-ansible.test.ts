/**
 * Ansible over a node's SSH: by a peer's name with no key and no known host, and at a port of SSH's own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Ended } from "./program.ts";
import { startSshPort } from "./ssh-port.ts";
import { type StockSsh, startStockSsh } from "./stock-ssh.ts";

/**
 * `ansible HOST WORDS`, with what it does by default: connections that are shared (`ControlPersist`), and modules that go
 * there by sftp, else by scp, else through a pipe, with a warning for each that is not to be had.
 */
async function ansible(it: StockSsh, host: string, ...words: string[]): Promise<Ended> {
  const folder = it.at("ansible");
  const env = [`ANSIBLE_HOME=${folder}`, `ANSIBLE_SSH_CONTROL_PATH_DIR=${folder}`];
  const python = ["-e", "ansible_python_interpreter=/usr/bin/python3"];
  const options = ["-i", `${host},`, "-u", it.login, "-o", ...python];
  return await it.run("env", ...env, "ansible", host, ...options, ...words).ended;
}

test("ansible pings a peer by its name", async () => {
  await using it = await startStockSsh(["ssh:exec"]);
  const ssh = `--ssh-common-args=${it.config.join(" ")}`;
  const { status, stdout, stderr } = await ansible(it, "den.alk", ssh, "-m", "ping");
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^den\.alk \| SUCCESS => \{.*"ping": "pong"/);
  const file = await ansible(it, "den.alk", ssh, "-m", "copy", "-a", "content=hello dest=~/file");
  assert.match(file.stdout, /^den\.alk \| CHANGED => /);
  const read = await ansible(it, "den.alk", ssh, "-m", "command", "-a", "cat file");
  assert.equal(read.stdout, "den.alk | CHANGED | rc=0 | (stdout) hello\n");
});

test("ansible pings a node at a port of SSH's own", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  const known = `--ssh-common-args=-o UserKnownHostsFile=${it.knownHosts}`;
  const port = ["-e", `ansible_port=${it.port}`, "--private-key", it.key];
  const { status, stdout, stderr } = await ansible(it, "127.0.0.1", known, ...port, "-m", "ping");
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^127\.0\.0\.1 \| SUCCESS => \{.*"ping": "pong"/);
});
