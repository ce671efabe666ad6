import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { ConfigInvalid, loadConfig, parseConfig } from "./config.ts";

const A = `ed25519:${"a".repeat(64)}`;
const B = `SHA256:${"b".repeat(64)}`;

const FULL = `
name = "den"
listen = ["[::]:7433", "0.0.0.0:443", "den.example"]

[peers.laptop]
fingerprint = "${A}"
addresses = ["laptop.example"]
scopes = ["tunnel:dial:localhost:5432", "git:read"]

[peers."old.phone"]
fingerprints = ["${B}"]
enabled = false

[limits]
exempt = ["10.0.0.0/8", "::1"]

[log]
level = "debug"
`;

function fails(text: string, line: number, column: number, message: RegExp): void {
  assert.throws(
    () => parseConfig(text, "/etc/alknet.toml"),
    (error) => {
      assert.ok(error instanceof ConfigInvalid, String(error));
      assert.equal(error.code, "CONFIG_INVALID");
      assert.ok(error.message.startsWith(`/etc/alknet.toml:${error.line}:${error.column}: `));
      assert.match(error.message, message);
      assert.deepEqual([error.line, error.column], [line, column], error.message);
      return true;
    },
    text,
  );
}

test("parseConfig() reads every key", () => {
  assert.deepEqual(parseConfig(FULL, "x.toml"), {
    path: "x.toml",
    name: "den",
    listen: [
      { host: "::", port: 7433 },
      { host: "0.0.0.0", port: 443 },
      { host: "den.example", port: 7433 },
    ],
    peers: [
      {
        peerId: "laptop",
        fingerprints: [A],
        addresses: ["laptop.example:7433"],
        scopes: ["tunnel:dial:localhost:5432", "git:read"],
        enabled: true,
        resources: {},
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
    limits: { exempt: ["10.0.0.0/8", "::1"] },
    log: { level: "debug" },
  });
});

test("an empty configuration is the defaults: dual stack on 7433, nobody known", () => {
  assert.deepEqual(parseConfig("", "x.toml"), {
    path: "x.toml",
    name: undefined,
    listen: [{ host: "::", port: 7433 }],
    peers: [],
    limits: { exempt: [] },
    log: { level: "info" },
  });
});

test("a configuration is frozen, and one text stands for a list of one", () => {
  const config = parseConfig(`listen = "0.0.0.0"\n[peers.a]\nscopes = "git:read"`, "x.toml");
  assert.deepEqual(config.listen, [{ host: "0.0.0.0", port: 7433 }]);
  assert.deepEqual(config.peers[0]?.scopes, ["git:read"]);
  assert.ok(
    [config, config.listen, config.peers, config.peers[0], config.limits, config.log].every(
      Object.isFrozen,
    ),
  );
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
  fails("[colour]", 1, 2, /unknown key "colour": expected one of .*"log"$/);
  fails("peers.den.__proto__ = 1", 1, 11, /unknown key "__proto__" in \[peers\.den\]/);
  fails("constructor = 1", 1, 1, /unknown key "constructor"/);
});

test("a value of the wrong kind or form is reported at its place", () => {
  fails("name = 7", 1, 1, /expected text in quotes, found number 7$/);
  fails('name = "a b"', 1, 1, /cannot use name "a b"/);
  fails("peers = []", 1, 1, /expected a table, found a list$/);
  fails("log = 1979-05-27", 1, 1, /expected a table, found a table or a date$/);
  fails(
    '[log]\nlevel = "inf"',
    2,
    1,
    /unknown level "inf": expected one of .*; did you mean "info"\?$/,
  );
  fails("listen = []", 1, 1, /at least one address/);
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
  fails(
    `[peers.den]\nscopes = ["git:read",\n "tunel"]`,
    3,
    2,
    /peer "den": cannot parse scope "tunel"/,
  );
  fails(`[peers.den]\nfingerprint = "ed25519:1"`, 2, 1, /cannot parse fingerprint "ed25519:1"/);
  fails(`[peers.den]\nfingerprints = ["${A}", "x"]`, 2, 93, /cannot parse fingerprint "x"/);
  fails(`[peers.den]\nfingerprint = "${A}"\n fingerprints = []`, 3, 2, /not both$/);
  fails(
    `[peers.a]\nfingerprint = "${A}"\n[peers.b]\nfingerprint = "${A}"`,
    4,
    1,
    /also a key of "a"/,
  );
  fails("[peers.den]\n[peers.Den]", 2, 8, /upper and lower case/);
  fails("[peers.owner]", 1, 8, /this node's owner/);
  fails('[peers."a b"]', 1, 8, /expected 1 to 64 letters/);
  fails('[peers.den]\naddresses = ["a b"]', 2, 14, /cannot parse address "a b"/);
});

test("loadConfig() takes a file that is not there for an empty one, and reports one that it cannot read", (t) => {
  const folder = fs.mkdtempSync(join(tmpdir(), "alknet-config-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "alknet.toml");
  assert.deepEqual(loadConfig(path).peers, []);
  fs.writeFileSync(path, FULL);
  assert.equal(loadConfig(path).name, "den");
  assert.throws(() => loadConfig(folder), {
    code: "CONFIG_INVALID",
    message: /cannot read the configuration/,
  });
  fs.truncateSync(path, 17 * 2 ** 20);
  assert.throws(() => loadConfig(path), {
    code: "CONFIG_INVALID",
    message: /expected at most 16777216/,
  });
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
