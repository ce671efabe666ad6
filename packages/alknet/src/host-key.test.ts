import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { defaultConfig } from "@alknet/core/config";
import { CommandError } from "./command-error.ts";
import { hostKeyOf, loadOrCreateHostKey, nodeHostKey } from "./host-key.ts";
import { sshFiles } from "./ssh-files.ts";
import { testHome } from "./testing.ts";

const refusal = (path: string): CommandError => {
  try {
    loadOrCreateHostKey(path);
  } catch (error) {
    if (error instanceof CommandError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
};

test("loadOrCreateHostKey() makes a key for its owner alone, and finds it again", () => {
  using it = testHome();
  const path = join(it.folder, "keys", "host");
  const made = loadOrCreateHostKey(path);
  assert.deepEqual(loadOrCreateHostKey(path), made);
  assert.equal(loadOrCreateHostKey(path).file, made.file);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(dirname(path)), ["host"]);
});

test("a host key is ssh-keygen's, and its fingerprint too", () => {
  using it = testHome();
  const path = join(it.folder, "host");
  const { fingerprint } = loadOrCreateHostKey(path);
  const line = execFileSync("ssh-keygen", ["-l", "-f", path]).toString();
  assert.equal(line.split(" ")[1], fingerprint);
});

test("keys that cannot serve are refused, left as they are, each with the command that mends it", () => {
  using it = testHome();
  const at = (name: string): string => join(it.folder, name);
  const make = (name: string, ...words: string[]): string => {
    execFileSync("ssh-keygen", ["-q", "-C", "", "-f", at(name), ...words]);
    return at(name);
  };
  const encrypted = make("with blank", "-t", "ed25519", "-N", "secret passphrase");
  const other = make("ecdsa", "-t", "ecdsa", "-N", "");
  writeFileSync(at("none"), "no key\n", { mode: 0o600 });
  const damaged = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
  writeFileSync(at("damaged"), damaged, { mode: 0o600 });
  const open = make("open", "-t", "ed25519", "-N", "");
  chmodSync(open, 0o644);
  for (const [path, text, hint] of [
    [encrypted, /it has a passphrase$/, `ssh-keygen -p -N '' -f '${encrypted}'`],
    [other, /expected one ssh-ed25519 key, found ecdsa-sha2-nistp256$/, "ssh-keygen -t ed25519"],
    [at("none"), /BEGIN OPENSSH PRIVATE KEY/, "host_key in [ssh]"],
    // Not to be touched by who follows a hint.
    ["/etc/passwd", /BEGIN OPENSSH PRIVATE KEY/, "restore it, or name another file: host_key"],
    [at("damaged"), /.+/, "move it away"],
    [open, /others can read or change it \(mode 0644\)/, `chmod 600 ${open}`],
    [it.folder, /cannot read it/, "ls -l"],
  ] as const) {
    const error = refusal(path);
    assert.equal(error.code, "HOST_KEY_UNUSABLE");
    assert.match(error.message, text);
    assert.ok(String(error.hint).includes(hint), error.hint ?? "no hint");
  }
  // The command that was named does what was said.
  execFileSync("ssh-keygen", ["-p", "-q", "-P", "secret passphrase", "-N", "", "-f", encrypted]);
  assert.match(loadOrCreateHostKey(encrypted).fingerprint, /^SHA256:/);
});

test("nodeHostKey() takes the file that is named, else the vault's, else one of its own; none without SSH", () => {
  using it = testHome();
  const config = defaultConfig(it.home.config);
  const ofVault = hostKeyOf(new Uint8Array(32).fill(3));
  assert.equal(nodeHostKey(it.home, config, ofVault), ofVault);
  const named = { ...config, ssh: { ...config.ssh, hostKey: join(it.folder, "named") } };
  const fromFile = nodeHostKey(it.home, named, ofVault);
  assert.equal(fromFile?.file, readFileSync(join(it.folder, "named"), "latin1"));
  assert.equal(nodeHostKey(it.home, { ...config, handlers: [] }, undefined), undefined);
  assert.deepEqual(readdirSync(it.folder), ["named"]);
  const own = nodeHostKey(it.home, config, undefined);
  assert.equal(own?.file, readFileSync(sshFiles(it.home).hostKey, "latin1"));
});

test("a host key shows no secret to loggers", () => {
  const seed = new Uint8Array(32).fill(3);
  const key = hostKeyOf(seed);
  assert.deepEqual(seed, new Uint8Array(32));
  assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(key)) as object), ["fingerprint"]);
  assert.doesNotMatch(inspect(key), /PRIVATE/);
});
