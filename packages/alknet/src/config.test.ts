import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { configTemplate, EXAMPLE_CONFIG } from "@alknet/core/config-page";
import type { NodeStatus } from "./operations/status-document.ts";
import { type Program, run, start, type TestHome, testHome } from "./testing.ts";

const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

const A = `ed25519:${"a".repeat(64)}`;

/** Run the real program to its end. */
async function alknet(home: TestHome, ...args: string[]) {
  await using program = start(home, args);
  return await program.exited;
}

async function statusOf(home: TestHome): Promise<NodeStatus> {
  return JSON.parse((await run(home, ["status", "--json"])).stdout) as NodeStatus;
}

/** Wait until `text` stands in the node's log so often. */
async function logged(program: Program, text: string, times = 1): Promise<void> {
  while (program.stderr().split(text).length <= times) await once(program.child.stderr!, "data");
}

test("alknet config check tells all that is wrong, with the lines, and what programs need", async () => {
  using home = testHome();
  const none = await alknet(home, "config", "check");
  assert.equal(none.code, 0);
  assert.match(none.stdout, /^there is no .*alknet\.toml: the defaults hold\n$/);
  home.config(EXAMPLE_CONFIG);
  const well = await alknet(home, "config", "check");
  assert.match(well.stdout, /alknet\.toml: ok, 2 peers, 1 API key, 1 role\n$/);
  const document = json((await run(home, ["config", "check", "--json"])).stdout);
  assert.deepEqual(document, {
    path: home.home.config,
    exists: true,
    valid: true,
    peers: 2,
    apiKeys: 1,
    roles: 1,
    notes: [],
  });

  const other = join(home.folder, "other.toml");
  writeFileSync(other, 'lisen = "x"\n[peers.den]\nscopes = "tunel"\n');
  const wrong = await alknet(home, "config", "check", other);
  assert.equal(wrong.code, 1);
  assert.equal(wrong.stdout, "");
  assert.match(
    wrong.stderr,
    /^alknet: .*other\.toml:1:1: .*did you mean "listen"\?\n  1 \| lisen = "x"\n    \| \^\n.*:3:1: cannot parse scope "tunel".*\n  3 \| scopes = "tunel"\n    \| \^\nhint: /,
  );
  const told = json((await run(home, ["config", "check", other, "--json"])).stdout);
  assert.equal(told["valid"], false);
  assert.deepEqual(
    (told["problems"] as { key: string; line: number }[]).map(({ key, line }) => [key, line]),
    [
      ["lisen", 1],
      ["peers.den.scopes", 3],
    ],
  );
  const missing = await run(home, ["config", "check", join(home.folder, "nowhere")]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /there is no such file\nhint: /);
});

test("alknet config show says what is a default, and shows no hash", async () => {
  using home = testHome();
  home.config(EXAMPLE_CONFIG);
  const { code, stdout } = await alknet(home, "config", "show");
  assert.equal(code, 0);
  assert.match(stdout, /^name = "den"$/m);
  assert.match(
    stdout,
    /^\[limits\]\n(?:.*\n)*drain = "10s"\n(?:.*\n)*idle_timeout = "30s" {2}# default$/m,
  );
  assert.match(stdout, /^\[peers\.laptop\]\n/m);
  assert.match(stdout, /^\[\[api_keys\]\]\n(?:.*\n)*hash = "sha256:33333333…"$/m);
  assert.doesNotMatch(stdout, /3{20}/);
  const document = json((await run(home, ["config", "show", "--json"])).stdout);
  const values = document["values"] as { key: string; value: unknown; from: string }[];
  assert.deepEqual(values.find(({ key }) => key === "tunnel.deadline")?.from, "default");
  assert.deepEqual(values.find(({ key }) => key === "peers.laptop.enabled")?.from, "default");
  home.config("x = 1");
  assert.equal((await run(home, ["config", "show"])).code, 1);
});

test("alknet config show --defaults is a file that can be used", async () => {
  using home = testHome();
  const { code, stdout } = await alknet(home, "config", "show", "--defaults");
  assert.equal(code, 0);
  assert.equal(stdout, configTemplate());
  home.config(stdout);
  assert.equal((await run(home, ["config", "check"])).code, 0);
});

test("alknet config path and schema print what their names say", async () => {
  using home = testHome();
  assert.equal((await alknet(home, "config", "path")).stdout, `${home.home.config}\n`);
  assert.deepEqual(json((await run(home, ["config", "path", "--json"])).stdout), {
    path: home.home.config,
    exists: false,
  });
  for (const flags of [[], ["--json"]]) {
    const schema = json((await run(home, ["config", "schema", ...flags])).stdout);
    assert.equal(schema["title"], "alknet.toml");
    assert.ok(Object.hasOwn(schema["properties"] as object, "peers"));
  }
  const bare = await run(home, ["config"]);
  assert.equal(bare.code, 2);
  assert.match(bare.stderr, /reload/);
});

test("a running node follows its file: on save, by rename, on SIGHUP and when told", async () => {
  using home = testHome();
  const listen = 'listen = "127.0.0.1:0"';
  home.config(listen);
  assert.equal((await run(home, ["config", "reload"])).code, 1);
  await using program = start(home, ["up", "--json"]);
  await program.ready;
  assert.deepEqual((await statusOf(home)).configuration.restart, []);

  const peers = (...names: string[]) =>
    names.map((name, at) => `[peers.${name}]\nfingerprint = "${A.slice(0, -1)}${at}"`);
  home.config(listen, ...peers("one"));
  const reloaded = await run(home, ["config", "reload"]);
  assert.equal(reloaded.code, 0, reloaded.stderr);
  // Whoever came first, the watcher or we, has put it in place.
  assert.match(reloaded.stdout, /^(1 peer added|nothing has changed)\n$/);
  assert.equal((await statusOf(home)).peers, 1);

  // Saved, and nobody is told.
  const draft = `${home.home.config}~`;
  writeFileSync(draft, [listen, ...peers("one", "two")].join("\n"));
  renameSync(draft, home.home.config);
  await logged(program, "configuration reloaded", 2);
  assert.equal((await statusOf(home)).peers, 2);

  home.config(listen, ...peers("one", "two", "three"), '[log]\nlevel = "debug"');
  program.child.kill("SIGHUP");
  await logged(program, "configuration reloaded", 3);
  assert.equal((await statusOf(home)).peers, 3);
  // The level holds at once, too.
  await run(home, ["config", "reload"]);
  await logged(program, "nothing has changed");

  home.config('listen = "127.0.0.1:1"', ...peers("one"));
  const { stdout, stderr } = await run(home, ["config", "reload"]);
  assert.match(stderr, /^listen needs a restart: alknet up\n$/);
  await logged(program, "listen needs a restart: alknet up");
  assert.match(stdout, /^(2 peers removed, log\.level changed|nothing has changed)\n$/);
  assert.deepEqual((await statusOf(home)).configuration.restart, ["listen"]);
  assert.match(
    (await run(home, ["status"])).stdout,
    /^config +listen needs a restart: alknet up$/m,
  );
});

test("a bad edit changes nothing in a running node, and alknet status shows it", async () => {
  using home = testHome();
  home.config('listen = "127.0.0.1:0"', "[peers.one]", `fingerprint = "${A}"`);
  await using program = start(home, ["up", "--json"]);
  await program.ready;
  home.config("[peers.one]", "fingerpint = 1");
  const { code, stderr } = await alknet(home, "config", "reload");
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^alknet: .*alknet\.toml:2:1: .*did you mean "fingerprint"\?\n  2 \| finger/,
  );
  const { configuration, peers } = await statusOf(home);
  assert.equal(peers, 1);
  assert.equal(configuration.state, "refused");
  assert.match(configuration.since, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.deepEqual(
    configuration.error?.problems.map(({ line, column, key }) => [line, column, key]),
    [[2, 1, "peers.one.fingerpint"]],
  );
  assert.match(
    (await run(home, ["status"])).stdout,
    /^config +refused since .*, what was in use stays\n +.*alknet\.toml:2:1: unknown key/m,
  );
  assert.match((await run(home, ["doctor"])).stdout, /^BAD +config in use: not the file's since /m);
  rmSync(home.home.config);
  const gone = await run(home, ["config", "reload"]);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /the file is gone/);
  home.config('listen = "127.0.0.1:0"', "# nobody");
  assert.equal((await run(home, ["config", "reload"])).code, 0);
  assert.equal((await statusOf(home)).configuration.state, "current");
  assert.equal((await statusOf(home)).peers, 0);
});

test("a peer that an edit takes away is cut off in the middle of what it does", async () => {
  using laptop = testHome();
  using home = testHome();
  const peer = ["[peers.laptop]", `fingerprint = "${laptop.fingerprint}"`];
  home.config('listen = "127.0.0.1:0"', ...peer);
  await using program = start(home, ["up", "--json"]);
  const { ticket } = await program.ready;
  for (const [index, flag] of ["--quic", "--tcp"].entries()) {
    await using pinging = start(laptop, ["ping", String(ticket), flag, "--count", "3600"]);
    while (!pinging.stdout().includes("\n1  ")) {
      await Promise.race([once(pinging.child.stdout!, "data"), pinging.exited]);
      assert.equal(pinging.child.exitCode, null, pinging.stderr());
    }
    home.config('listen = "127.0.0.1:0"', ...peer, "enabled = false");
    // The watcher may have been first: what was ended stands in the log.
    assert.equal((await run(home, ["config", "reload"])).code, 0);
    await logged(program, '"ended":{"connections":1,"grants":0}', index + 1);
    const { code, stderr } = await pinging.exited;
    // TCP has no codes to close with.
    assert.equal(code, flag === "--quic" ? 3 : 4, stderr);
    home.config('listen = "127.0.0.1:0"', ...peer);
    assert.equal((await run(home, ["config", "reload"])).code, 0);
  }
});

test("the node takes services, limits and its key from the configuration", async () => {
  using home = testHome();
  home.config('listen = "127.0.0.1:0"', 'handlers = ["ping"]', 'identity = "keys/own.key"');
  await using program = start(home, ["up", "--json"]);
  const { fingerprint } = await program.ready;
  const { stdout } = await run(home, ["id", "--json"]);
  assert.deepEqual(json(stdout)["fingerprint"], fingerprint);
  assert.equal(json(stdout)["path"], join(home.folder, "keys/own.key"));
  assert.ok(readFileSync(join(home.folder, "keys/own.key")).length > 0);
});
