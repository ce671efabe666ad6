import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultConfig } from "@alknet/core/config";
import { checkSsh } from "./ssh.ts";

const config = defaultConfig("/x.toml");
const alice = { id: "alice", scopes: ["ssh:exec:uptime"], resources: {} };
const bob = { id: "bob", scopes: ["*"], resources: { user: ["bob"] } };
const carol = { id: "carol", scopes: ["git:read"], resources: {} };
const asked = { config, identities: [alice, bob, carol], isRoot: true, noTerminals: undefined };

test("checkSsh() names who may use SSH and has no account where the node is root", () => {
  const [found, ...more] = checkSsh(asked);
  assert.match(found?.text ?? "", /^alice may use SSH, and has no account/);
  assert.equal(found?.fix, "alknet peers set alice --user NAME");
  assert.deepEqual(more, []);
  const entry = { peerId: "alice", fingerprints: [], scopes: [], enabled: true };
  const inFile = { ...asked, config: { ...config, peers: [entry] } };
  assert.equal(checkSsh(inFile)[0]?.fix, 'add user = "NAME" to [peers.alice] in /x.toml');
  assert.deepEqual(checkSsh({ ...asked, isRoot: false }), []);
  assert.deepEqual(checkSsh({ ...asked, config: { ...config, handlers: ["ping"] } }), []);
});

test("checkSsh() says that there are no terminals, if anybody could have one", () => {
  const without = { ...asked, isRoot: false, noTerminals: "there are no terminals here" };
  assert.match(checkSsh(without)[0]?.fix ?? "", /npm install @lydell\/node-pty/);
  assert.deepEqual(checkSsh({ ...without, identities: [carol] }), []);
});

test("checkSsh() warns of a port that is open to the public, and of no other", () => {
  const hosts = ["0.0.0.0", "::", "203.0.113.5", "127.0.0.1", "10.1.2.3", "fd00::1", "::1"];
  const listen = hosts.map((host) => ({ host, port: 22 }));
  const found = checkSsh({
    ...asked,
    config: { ...config, ssh: { ...config.ssh, listen } },
    identities: [],
  });
  assert.deepEqual(
    found.map(({ text }) => text.split(" ")[0]),
    ["0.0.0.0:22", "[::]:22", "203.0.113.5:22"],
  );
});
