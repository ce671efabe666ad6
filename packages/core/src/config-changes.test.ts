import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultConfig } from "./config.ts";
import { configChanges, isUnchanged, RESTART_KEYS, restartKeys } from "./config-changes.ts";
import { parseConfig } from "./config-parse.ts";
import { schemaAt } from "./config-json-schema.ts";

const parse = (...lines: string[]) => parseConfig(lines.join("\n"), "/x.toml");
const nothing = { added: 0, removed: 0, changed: 0 };

test("configChanges() counts peers, tokens and roles, and names the other keys", () => {
  const key = (prefix: string, digit: string) =>
    `[[api_keys]]\nprefix = "alk_${prefix}"\nhash = "sha256:${digit.repeat(64)}"`;
  const before = parse('[roles]\na = "git:read"', "[peers.one]", "[peers.two]", key("aaaa", "1"));
  const after = parse(
    '[roles]\na = "git:write"\nb = []',
    "[peers.two]\nenabled = false",
    "[peers.three]",
    "[peers.four]",
    key("aaaa", "2"),
    key("bbbb", "3"),
    '[limits.penalties]\nauth = "1m"',
    "[tunnel]\nflows_per_peer = 1",
  );
  assert.deepEqual(configChanges(before, after), {
    peers: { added: 2, removed: 1, changed: 1 },
    apiKeys: { added: 1, removed: 0, changed: 1 },
    roles: { added: 1, removed: 0, changed: 1 },
    settings: ["limits.penalties", "tunnel"],
  });
  assert.equal(isUnchanged(configChanges(before, after)), false);
});

test("configChanges() sees nothing in what only looks different", () => {
  const before = parse('listen = "[::]:7433"', '[limits]\ndrain = "2s"', "[peers.a]\nscopes = []");
  const after = parse("# nothing", "[peers.a]");
  const changes = configChanges(before, after);
  assert.deepEqual(changes, { peers: nothing, apiKeys: nothing, roles: nothing, settings: [] });
  assert.equal(isUnchanged(changes), true);
  assert.deepEqual(restartKeys(before, after), []);
});

test("restartKeys() names what needs a restart, each a key of the schema", () => {
  const after = parse(
    'name = "x"\nlisten = "[::]:1"\nidentity = "k"\nhandlers = ["ssh"]\ncall.strangers = true',
    '[limits]\ndrain = "3s"\nhandshake_timeout = "3s"\nidle_timeout = "3s"',
    '[quic]\ncongestion = "newreno"',
    '[tunnel]\nproxy = "http://p"\nproxy_password_file = "p"',
    '[ssh]\nlisten = "[::1]"\nhost_key = "h"\nrecord = "r"',
    '[store]\npath = "db"',
  );
  // A file, or a server: not both.
  const server = parse('[store]\nurl = "postgres://db/x"\npassword_file = "p"');
  const keys = [after, server].flatMap((each) => restartKeys(defaultConfig("/x.toml"), each));
  assert.deepEqual(keys, RESTART_KEYS);
  for (const key of RESTART_KEYS) assert.ok(schemaAt(key.split(".")), key);
});
