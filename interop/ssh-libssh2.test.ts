/**
 * libssh2 at the SSH port of a node: by curl, whose `scp://` it serves.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type SshPort, startSshPort } from "./ssh-port.ts";

/** Of all that libssh2 does with a `known_hosts`, curl uses the user's own file; by a hash it needs none. */
function curl(it: SshPort, hostKey: string, ...words: string[]) {
  const hash = hostKey.replace("SHA256:", "");
  const options = ["-sS", "--key", it.key, "--pubkey", `${it.key}.pub`, "--hostpubsha256", hash];
  return it.run("curl", ...options, ...words).ended;
}

test("curl sends and gets a file by scp://, to the last byte", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  const bytes = randomBytes(8 * 2 ** 20);
  writeFileSync(it.at("file"), bytes);
  const url = `scp://${it.login}@127.0.0.1:${it.port}/~/by-curl`;
  const put = await curl(it, it.hostKey, "-T", it.at("file"), url);
  assert.deepEqual([put.status, put.stderr], [0, ""]);
  const got = await curl(it, it.hostKey, "-o", it.at("back"), url);
  assert.deepEqual([got.status, got.stderr], [0, ""]);
  assert.deepEqual(readFileSync(it.at("back")), bytes);
  // What scp over there says of a file that is not there is for its user.
  const missing = await curl(it, it.hostKey, `${url}-is-not-there`);
  assert.notEqual(missing.status, 0);
});

test("curl leaves a host key that is not the one it was told", async () => {
  await using it = await startSshPort(["ssh:exec"]);
  const url = `scp://${it.login}@127.0.0.1:${it.port}/~/.profile`;
  const { status, stdout, stderr } = await curl(it, `SHA256:${"A".repeat(43)}`, url);
  // CURLE_PEER_FAILED_VERIFICATION.
  assert.deepEqual([status, stdout], [60, ""]);
  assert.match(stderr, /mismatch sha256 fingerprint/i);
});
