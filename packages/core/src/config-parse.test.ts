import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { stringify } from "smol-toml";
import { type Config, defaultConfig } from "./config.ts";
import { ConfigInvalid } from "./config-problem.ts";
import { parseConfig } from "./config-parse.ts";
import { configJsonSchema, type JsonSchema } from "./config-json-schema.ts";
import { DEFAULT_CAPS, DEFAULT_PENALTIES } from "./limit-values.ts";
import { fails } from "./test-config.ts";

const A = `ed25519:${"a".repeat(64)}`;
const B = `SHA256:${"b".repeat(64)}`;

const FULL = `
name = "den"
listen = ["[::]:7433", "0.0.0.0:443", "den.example"]
identity = "keys/den.key"
handlers = ["tunnel", "ping", "ping", "ssh"]

[roles]
developer = ["git:read", "tunnel:dial:db.internal:5432"]

[peers.laptop]
fingerprint = "${A}"
addresses = ["laptop.example"]
scopes = ["tunnel:dial:localhost:5432", "@developer until 2126-12-31T18:00:00Z"]
display_name = "Anna's laptop"
token_hash = "sha256:${"c".repeat(64)}"
resources = { repositories = ["a", "b"], home = "x" }

[peers."old.phone"]
fingerprints = ["${B}"]
enabled = false

[[api_keys]]
prefix = "alk_abcd"
hash = "sha256:${"d".repeat(64)}"
scopes = "git:read"
description = "the build"
expires_at = 2126-12-31T18:00:00+01:00

[[api_keys]]
prefix = "alk_efgh"
hash = "sha256:${"e".repeat(64)}"
expires_at = "2126-12-31T18:00:00.5Z"

[limits]
exempt = ["10.0.0.0/8", "::1"]
connections = 100
drain = "1m"
penalties = { auth = "30s", maximum = "1h" }

[quic]
congestion = "newreno"

[call]
strangers = true

[tunnel]
flows_per_peer = 7
deadline = "1s500ms"
proxy = "socks5://alknet@127.0.0.1"
proxy_password_file = "proxy-password"

[ssh]
listen = "127.0.0.1"
host_key = "/etc/ssh/ssh_host_ed25519_key"
accept_env = ["LANG"]
record = "sessions"
attempts = 3
auth_deadline = "20s"
channels_per_peer = 9

[log]
level = "debug"

[store]
path = "/var/lib/alknet.db"

[vault]
lock_after = "never"
key_file = "vault.key"
`;

test("parseConfig() reads every key", () => {
  const end = Date.UTC(2126, 11, 31, 18) / 1_000;
  assert.deepEqual(parseConfig(FULL, "/etc/alknet/x.toml"), {
    path: "/etc/alknet/x.toml",
    name: "den",
    listen: [
      { host: "::", port: 7433 },
      { host: "0.0.0.0", port: 443 },
      { host: "den.example", port: 7433 },
    ],
    identity: "/etc/alknet/keys/den.key",
    handlers: ["tunnel", "ping", "ssh"],
    roles: new Map([["developer", ["git:read", "tunnel:dial:db.internal:5432"]]]),
    peers: [
      {
        peerId: "laptop",
        fingerprints: [A],
        addresses: ["laptop.example:7433"],
        scopes: ["tunnel:dial:localhost:5432", "@developer until 2126-12-31T18:00:00Z"],
        enabled: true,
        displayName: "Anna's laptop",
        tokenHash: `sha256:${"c".repeat(64)}`,
        resources: { repositories: ["a", "b"], home: ["x"] },
      },
      {
        peerId: "old.phone",
        fingerprints: [B],
        addresses: [],
        scopes: [],
        enabled: false,
        resources: {},
      },
    ],
    apiKeys: [
      {
        prefix: "alk_abcd",
        hash: `sha256:${"d".repeat(64)}`,
        scopes: ["git:read"],
        description: "the build",
        expiresAt: end - 3_600,
      },
      { prefix: "alk_efgh", hash: `sha256:${"e".repeat(64)}`, scopes: [], expiresAt: end },
    ],
    limits: {
      exempt: ["10.0.0.0/8", "::1"],
      caps: { ...DEFAULT_CAPS, connections: 100 },
      penalties: { ...DEFAULT_PENALTIES, auth: 30_000, maximum: 3_600_000 },
      drain: 60_000,
      handshakeTimeout: 10_000,
      idleTimeout: 30_000,
    },
    quic: { congestion: "newreno" },
    call: { strangers: true },
    tunnel: {
      flowsPerPeer: 7,
      openingPerPeer: 256,
      deadline: 1_500,
      listenersPerPeer: 64,
      proxy: "socks5://alknet@127.0.0.1",
      proxyPasswordFile: "/etc/alknet/proxy-password",
    },
    ssh: {
      listen: [{ host: "127.0.0.1", port: 2222 }],
      hostKey: "/etc/ssh/ssh_host_ed25519_key",
      acceptEnv: ["LANG"],
      record: "/etc/alknet/sessions",
      limits: {
        attempts: 3,
        authDeadline: 20_000,
        channels: 2_048,
        channelsPerPeer: 9,
        sessionsPerPeer: 256,
      },
    },
    log: { level: "debug" },
    store: { path: "/var/lib/alknet.db", url: undefined, passwordFile: undefined },
    vault: { lockAfter: undefined, keyring: false, keyFile: "/etc/alknet/vault.key" },
  } satisfies Config);
});

test("an empty configuration is the defaults, which are known without the schema", () => {
  assert.deepEqual(parseConfig("", "x.toml"), defaultConfig("x.toml"));
  assert.deepEqual(defaultConfig("x.toml").listen, [{ host: "::", port: 7433 }]);
  assert.deepEqual(defaultConfig("x.toml").peers, []);
});

test("a configuration is frozen, and one text stands for a list of one", () => {
  const config = parseConfig(`listen = "0.0.0.0"\n[peers.a]\nscopes = "git:read"`, "x.toml");
  assert.deepEqual(config.listen, [{ host: "0.0.0.0", port: 7433 }]);
  assert.deepEqual(config.peers[0]?.scopes, ["git:read"]);
  for (const each of [config, defaultConfig("x.toml")]) {
    const { listen, handlers, peers, apiKeys, limits, call, tunnel, ssh, log, store } = each;
    const parts = [
      each,
      listen,
      handlers,
      peers,
      ...peers,
      apiKeys,
      call,
      tunnel,
      ssh,
      log,
      store,
      limits,
    ];
    assert.ok(parts.every(Object.isFrozen));
    assert.ok([ssh.listen, ssh.acceptEnv, ssh.limits].every(Object.isFrozen));
    assert.ok([limits.exempt, limits.caps, limits.penalties].every(Object.isFrozen));
  }
});

test("every key of the schema changes what the configuration says", () => {
  const values: Record<string, string> = {
    name: '"x"',
    listen: '"[::1]:1"',
    identity: '"x"',
    handlers: "[]",
    exempt: '["::1"]',
    fingerprint: `"${A}"`,
    fingerprints: `["${A}"]`,
    scopes: '"git:read"',
    enabled: "false",
    addresses: '"a"',
    display_name: '"x"',
    token_hash: `"sha256:${"0".repeat(64)}"`,
    resources: '{ a = ["b"] }',
    description: '"x"',
    expires_at: "2126-12-31T18:00:00Z",
    prefix: '"alk_zzzz"',
    hash: `"sha256:${"1".repeat(64)}"`,
    congestion: '"newreno"',
    level: '"error"',
    path: '"x"',
    url: '"postgres://db/x"',
    keyring: "true",
    strangers: "true",
    host_key: '"x"',
    accept_env: "[]",
    record: '"x"',
    user: '"alice"',
    proxy: '"http://p"',
    proxy_password_file: '"x"\nproxy = "http://p"',
    key_file: '"x"',
    lock_after: '"never"',
    password_file: '"x"\nurl = "postgres://db/x"',
  };

  const keyed = (table: string, rest = "") => {
    const at = (schema: JsonSchema, head: string): void => {
      for (const [key, inner] of Object.entries(schema.properties ?? {})) {
        if (inner.type === "object" && inner.properties !== undefined) {
          at(inner, head === "" ? `[${key}]\n` : `${head.trimEnd().slice(0, -1)}.${key}]\n`);
          continue;
        }
        if (inner.additionalProperties || inner.items?.properties !== undefined) {
          if (key !== "resources") continue;
        }
        const value =
          key === "sources" ? "77777" : inner.type === "integer" ? "77" : (values[key] ?? '"20s"');
        const line = head.includes("api_keys") && (key === "prefix" || key === "hash");
        const before = line ? head.replace(new RegExp(`^${key} = .*$`, "m"), "") : head;
        const text = `${before}${key} = ${value}\n`;
        assert.notDeepEqual(parseConfig(text, "x.toml"), parseConfig(head, "x.toml"), text);
        keys++;
      }
    };
    const part = table === "" ? schema : (schema.properties![table]! as JsonSchema);
    at(part.additionalProperties || part.items || part, rest);
  };
  let keys = 0;
  const schema = configJsonSchema();
  keyed("");
  keyed("peers", "[peers.a]\n");
  keyed("api_keys", `[[api_keys]]\nprefix = "alk_aaaa"\nhash = "sha256:${"0".repeat(64)}"\n`);
  assert.ok(keys > 40, String(keys));
});

test("what is not TOML is reported where it goes wrong", () => {
  fails(`name = "den\n`, 1, 12, /not TOML: /);
  fails(`name = "a"\nname = "b"\n`, 2, 1, /not TOML: .*redefine/);
  fails("a = 9007199254740993", 1, 5, /not TOML: integer/);
});

test("an unknown key is an error, with the one that was probably meant", () => {
  fails(
    `\nlisen = "x"`,
    2,
    1,
    /unknown key "lisen": expected one of "name", "listen", .*; did you mean "listen"\?$/,
  );
  fails("[peers.den]\nfingerpint = 1", 2, 1, /in \[peers\.den\].*did you mean "fingerprint"\?$/);
  fails("[peers.den]\nscope = []", 2, 1, /did you mean "scopes"\?$/);
  fails("[limits]\n  exmept = []", 2, 3, /did you mean "exempt"\?$/);
  fails("[colour]", 1, 2, /unknown key "colour": expected one of "name", .*"vault"$/);
  fails("peers.den.__proto__ = 1", 1, 11, /unknown key "__proto__" in \[peers\.den\]/);
  fails("constructor = 1", 1, 1, /unknown key "constructor"/);
});

test("a value of the wrong kind or form is reported at its place", () => {
  fails("name = 7", 1, 1, /expected text in quotes, found number 7$/);
  fails('name = "a b"', 1, 1, /cannot use name "a b"/);
  fails("peers = []", 1, 1, /expected a table, found a list$/);
  fails("log = 1979-05-27", 1, 1, /expected a table, found a date$/);
  fails(
    '[log]\nlevel = "inf"',
    2,
    1,
    /unknown value "inf": expected one of .*; did you mean "info"\?$/,
  );
  fails(
    '[quic]\ncongestion = "bbr3"',
    2,
    1,
    /unknown value "bbr3": expected one of "bbr", .*; did you mean "bbr"\?$/,
  );
  fails("listen = []", 1, 1, /expected at least 1 entry, such as "\[::\]:7433", found 0$/);
  fails(
    'listen = [\n  "[::]:7433",\n  "[::]:99999",\n]',
    3,
    3,
    /cannot parse address "\[::\]:99999"/,
  );
  fails('[limits]\nexempt = ["10.0.0.1/8"]', 2, 11, /write 10\.0\.0\.0\/8$/);
  fails('[peers.den]\nenabled = "no"', 2, 1, /expected true or false, found text$/);
  fails("[peers.den]\nscopes = [1]", 2, 11, /expected text in quotes/);
});

test("peers that do not hold together are reported at the field at fault", () => {
  fails(`[peers.den]\nscopes = ["git:read",\n "tunel"]`, 3, 2, /cannot parse scope "tunel"/);
  fails(`[peers.den]\nfingerprint = "ed25519:1"`, 2, 1, /cannot parse fingerprint "ed25519:1"/);
  fails(`[peers.den]\nfingerprints = ["${A}", "x"]`, 2, 93, /cannot parse fingerprint "x"/);
  fails(`[peers.den]\nfingerprint = "${A}"\n fingerprints = []`, 3, 2, /not both$/);
  fails(
    `[peers.a]\nfingerprint = "${A}"\n[peers.b]\nfingerprint = "${A}"`,
    4,
    1,
    /this key is also a key of "a"$/,
  );
  fails("[peers.den]\n[peers.Den]", 2, 8, /upper and lower case/);
  fails("[peers.owner]", 1, 8, /this node's owner/);
  fails('[peers."a b"]', 1, 8, /expected 1 to 64 letters/);
  fails('[peers.den]\naddresses = ["a b"]', 2, 14, /cannot parse address "a b"/);
});

test("a key that stands in the wrong table is told where it belongs", () => {
  fails('level = "debug"', 1, 1, /unknown key "level".*; it belongs to \[log\]$/);
  fails('[log]\nname = "den"', 2, 1, /; it belongs before the first \[table\]$/);
  fails('addresses = ["a"]', 1, 1, /; it belongs to \[peers\.NAME\]$/);
  fails('hash = ""', 1, 1, /; it belongs to \[\[api_keys\]\]$/);
});

test("numbers, durations, services and times have to make sense", () => {
  fails(
    "[limits]\nconnections = 0",
    2,
    1,
    /expected a whole number, 1 to 1000000, found number 0$/,
  );
  fails("[limits]\nconnections = 1.5", 2, 1, /found number 1\.5$/);
  fails("[limits]\ndrain = 10", 2, 1, /a duration in quotes, such as "10s", found number 10$/);
  fails('[limits]\ndrain = "10"', 2, 1, /cannot parse duration "10"/);
  fails('[limits]\ndrain = "1d"', 2, 1, /cannot use "1d": expected 0s to 10m$/);
  fails("[limits]\nconnections = 70000", 2, 1, /expected "sources" above 71024.*it is 65536$/);
  fails('[limits.penalties]\nmaximum = "1s"', 2, 1, /"minimum" to be at most "maximum"/);
  fails('handlers = ["pnig"]', 1, 13, /unknown value "pnig".*did you mean "ping"\?$/);
  const key = (rest: string) =>
    `[[api_keys]]\nprefix = "alk_abcd"\nhash = "sha256:${"0".repeat(64)}"\n${rest}`;
  for (const end of ["2026-12-31", "2026-12-31T18:00:00", '"2026-02-30T00:00:00Z"', "18:00:00"]) {
    fails(key(`expires_at = ${end}`), 4, 1, /expected a time with its zone/);
  }
  // A table, where a text would be quoted.
  const odd = key("").replace('"alk_abcd"', "{ toString = 1 }");
  fails(odd, 2, 1, /expected text in quotes, found a table$/);
  fails("[[api_keys]]\n", 1, 1, /expected "prefix" in \[\[api_keys\]\]: text in quotes$/);
  fails(key(key("")), 5, 1, /another API key with the prefix "alk_abcd"$/);
  fails(key('scopes = ["@x"]'), 4, 11, /unknown role "x": add it to \[roles\]$/);
});

test("all that is wrong is told, in the order of the file, with the line and a caret", () => {
  const text = [
    'name = "a b"',
    "[limits]",
    "\tdrain = 7 # seconds",
    "[peers.den]",
    `fingerprint = "${A}"`,
    'scopes = ["git:read", "tunel"]',
    "[peers.two]",
    `fingerprint = "${A}"`,
    "colour = 1",
  ].join("\n");
  assert.throws(
    () => parseConfig(text, "x.toml"),
    (error) => {
      assert.ok(error instanceof ConfigInvalid);
      assert.deepEqual(
        error.problems.map(({ line, column, key }) => [line, column, key]),
        [
          [1, 1, "name"],
          [3, 2, "limits.drain"],
          [6, 23, "peers.den.scopes[1]"],
          [8, 1, "peers.two.fingerprint"],
          [9, 1, "peers.two.colour"],
        ],
      );
      assert.match(
        error.report,
        /^x\.toml:3:2: expected a duration.*\n  3 \| \tdrain = 7 # seconds\n    \| \t\^\n/m,
      );
      assert.match(error.report, /^  6 \| scopes = \["git:read", "tunel"\]\n    \| {23}\^$/m);
      return true;
    },
  );
});

test("a file in which everything is wrong has 20 problems told", () => {
  const text = Array.from({ length: 1_000 }, (_, index) => `key${index} = 1`).join("\n");
  assert.throws(
    () => parseConfig(text, "x.toml"),
    (error) => error instanceof ConfigInvalid && error.problems.length === 20,
  );
});

test("names that objects have by themselves are names like others", () => {
  fails("[peers.__proto__]\nenabled = true", 1, 8, /cannot use peer "__proto__"/);
  fails("[roles]\n__proto__ = []", 2, 1, /cannot use role "__proto__"/);
  fails("[peers.a.resources]\n__proto__ = []", 2, 1, /cannot use name "__proto__"/);
  const config = parseConfig("[peers.constructor]\n[peers.toString]\nresources.valueOf = []", "x");
  assert.deepEqual(
    config.peers.map(({ peerId }) => peerId),
    ["constructor", "toString"],
  );
});

test("parseConfig() has a position for whatever value stands wherever", () => {
  const keys = (schema: JsonSchema): string[] => [
    ...Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => [key, ...keys(inner)]),
    ...(schema.additionalProperties ? keys(schema.additionalProperties) : []),
    ...(schema.items === undefined ? [] : keys(schema.items)),
  ];
  const key = fc.oneof(
    fc.constantFrom(...keys(configJsonSchema()), "laptop", "__proto__"),
    fc.string({ maxLength: 4 }),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(A, "10s", "git:read", "@x", "::1", "alk_abcd", ""),
      fc.string({ maxLength: 6 }),
      fc.integer(),
      fc.double({ noNaN: true }),
      fc.boolean(),
      fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }),
      fc.array(tie("value"), { maxLength: 3 }),
      tie("table"),
    ),
    table: fc.dictionary(key, tie("value"), { maxKeys: 5 }),
  }));
  fc.assert(
    fc.property(fc.dictionary(key, value, { maxKeys: 6 }), (document) => {
      let text: string;
      try {
        text = stringify(document);
      } catch {
        // Mixed numbers and the like: the writer's own limits.
        return;
      }
      const lines = text.split("\n");
      try {
        parseConfig(text, "x.toml");
      } catch (error) {
        assert.ok(error instanceof ConfigInvalid, String(error));
        assert.ok(error.problems.length > 0 && error.problems.length <= 20);
        for (const { line, column, message } of error.problems) {
          assert.ok(line >= 1 && line <= lines.length && column >= 1, message);
          assert.ok(column <= lines[line - 1]!.length + 1, `${line}:${column} ${message}`);
          assert.doesNotMatch(message, /Invalid input|undefined/);
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

test("parseConfig() throws nothing but its own error", () => {
  const part = fc.constantFrom(
    "[peers.a]",
    "[limits]",
    "[log]",
    "listen",
    "fingerprint",
    "scopes",
    "enabled",
    "exempt",
    "level",
    " = ",
    '"x"',
    `"${A}"`,
    "[",
    "]",
    "\n",
    "1",
    "true",
    ",",
    "{",
    "}",
    "'",
  );
  fc.assert(
    fc.property(
      fc.array(part).map((parts) => parts.join("")),
      (text) => {
        try {
          parseConfig(text, "x.toml");
        } catch (error) {
          assert.ok(error instanceof ConfigInvalid, String(error));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});
