import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer, connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { hashToken } from "@alknet/core/api-key";
import { type Outcome, run, start, startNode, testHome, type TestHome } from "./testing.ts";

const A = `ed25519:${"a".repeat(64)}`;
const B = `ed25519:${"b".repeat(64)}`;

interface PeerJson {
  readonly peerId: string;
  readonly scopes: readonly string[];
  readonly fingerprints: readonly string[];
  readonly enabled: boolean;
  readonly source: string;
}

async function ok(home: TestHome, ...args: string[]): Promise<Record<string, unknown>> {
  const outcome = await run(home, [...args, "--json"]);
  assert.equal(outcome.code, 0, outcome.stderr);
  return JSON.parse(outcome.stdout) as Record<string, unknown>;
}

async function fails(home: TestHome, code: number, ...args: string[]): Promise<Outcome> {
  const outcome = await run(home, args);
  assert.equal(outcome.code, code, outcome.stderr);
  assert.match(outcome.stderr, /^alknet: .+\nhint: .+/m);
  return outcome;
}

test("accounts of a peer are set, shown and taken away; root is none", async () => {
  using home = testHome();
  const users = async () =>
    ((await ok(home, "peers", "show", "laptop"))["resources"] as { user?: string[] }).user;
  await ok(home, "peers", "add", "laptop", A, "--user", "alice", "bob");
  assert.deepEqual(await users(), ["alice", "bob"]);
  const { stderr } = await run(home, ["peers", "set", "laptop", "--user", "carol"]);
  assert.match(stderr, /^note: this machine has no user "carol": useradd -m carol$/m);
  assert.deepEqual(await users(), ["carol"]);
  assert.match((await run(home, ["peers", "show", "laptop"])).stdout, /^account +carol$/m);
  await fails(home, 2, "peers", "set", "laptop", "--user", "root");
  await fails(home, 2, "peers", "add", "phone", B, "--user", "a b");
  await fails(home, 2, "peers", "set", "laptop");
  assert.deepEqual(await users(), ["carol"]);
  await ok(home, "peers", "set", "laptop", "--no-user");
  assert.equal(await users(), undefined);
});

test("addresses of a peer are set, which keeps its key and its rights", async () => {
  using home = testHome();
  await ok(home, "peers", "add", "laptop", A, "--grant", "ssh:exec", "--user", "alice");
  await ok(home, "peers", "set", "laptop", "--address", "a.example:1", "[::1]:2");
  const shown = await ok(home, "peers", "show", "laptop");
  assert.deepEqual(shown["addresses"], ["a.example:1", "[::1]:2"]);
  assert.deepEqual([shown["fingerprints"], shown["scopes"]], [[A], ["ssh:exec"]]);
  await ok(home, "peers", "set", "laptop", "--address", "b.example", "--no-user");
  const { stderr } = await run(home, ["peers", "set", "laptop", "--address", "b.example"]);
  assert.match(stderr, /^done\n$/m);
  const now = await ok(home, "peers", "show", "laptop");
  assert.deepEqual([now["addresses"], now["resources"]], [["b.example:7433"], {}]);
  await fails(home, 2, "peers", "set", "laptop", "--address", "b.example:99999");
});

test("peers are added, changed and removed, whether a node runs or not", async () => {
  using home = testHome();
  await ok(home, "peers", "add", "laptop", A, "--grant", "ssh:shell", "git:read");
  const { peer } = (await ok(home, "peers", "grant", "laptop", "fs:read", "--until", "2h")) as {
    peer: PeerJson;
  };
  assert.match(peer.scopes[2] ?? "", /^fs:read until 20\d\d-/);
  await ok(home, "peers", "grant", "laptop", "fs:read");
  await ok(home, "peers", "revoke", "laptop", "ssh:shell");
  await ok(home, "peers", "rotate-key", "laptop", B);
  await ok(home, "peers", "rename", "laptop", "desk");
  const shown = (await ok(home, "peers", "show", "desk")) as unknown as PeerJson;
  assert.deepEqual(shown.scopes, ["git:read", "fs:read"]);
  assert.deepEqual(shown.fingerprints, [B]);
  await ok(home, "peers", "disable", "desk");
  const { peers } = (await ok(home, "peers")) as { peers: PeerJson[] };
  assert.deepEqual(
    peers.map(({ peerId, enabled, source }) => [peerId, enabled, source]),
    [["desk", false, "store"]],
  );
  await ok(home, "peers", "enable", "desk");
  await ok(home, "peers", "revoke", "desk", "--all");
  await ok(home, "peers", "remove", "desk");
  assert.deepEqual(await ok(home, "peers", "list"), { peers: [] });
  const { stdout } = await run(home, ["log", "--json"]);
  const actions = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { action: string });
  assert.equal(actions[0]?.action, "peer.add");
  assert.equal(actions.at(-1)?.action, "peer.remove");
  assert.equal(actions.length, 10);
});

test("what cannot be done says what to do instead", async () => {
  using home = testHome();
  home.config("[peers.server]", `fingerprint = "${A}"`);
  await ok(home, "peers", "add", "laptop", B);
  assert.match((await fails(home, 1, "peers", "add", "laptop", B)).stderr, /rotate-key laptop/);
  assert.match((await fails(home, 1, "peers", "revoke", "server", "--all")).stderr, /alknet\.toml/);
  assert.match((await fails(home, 1, "peers", "add", "other", A)).stderr, /peer "server"/);
  assert.match((await fails(home, 1, "peers", "add", "other", B)).stderr, /key of "laptop"/);
  await ok(home, "peers", "disable", "laptop");
  const shut = await fails(home, 1, "peers", "add", "other", B);
  assert.match(shut.stderr, /"laptop", which is disabled\nhint: .*alknet peers enable laptop/);
  await fails(home, 1, "peers", "revoke", "laptop", "ssh:shell");
  await fails(home, 2, "peers", "revoke", "laptop");
  await fails(home, 1, "peers", "grant", "nobody", "ssh:shell");
  await fails(home, 2, "peers", "add", "other");
  const { peers } = (await ok(home, "peers")) as { peers: PeerJson[] };
  assert.deepEqual(
    peers.map(({ peerId, source }) => [peerId, source]),
    [
      ["server", "config"],
      ["laptop", "store"],
    ],
  );
});

test("rights that amount to everything are said to be so", async () => {
  using home = testHome();
  const { stderr } = await run(home, ["peers", "add", "laptop", A, "--grant", "ssh:shell"]);
  assert.match(stderr, /ssh:shell is a shell of the account that the node gives it/);
});

test("a key of SSH lets the same machine in", async () => {
  using home = testHome();
  const path = join(home.folder, "id_ed25519");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path]);
  const { peer } = (await ok(home, "peers", "add", "me", "--ssh-key", `${path}.pub`)) as {
    peer: PeerJson;
  };
  assert.match(peer.fingerprints[0] ?? "", /^ed25519:/);
  assert.match((await run(home, ["peers", "add", "x", "--ssh-key", path])).stderr, /private key/);
});

test("a token is shown once, and kept as a hash", async () => {
  using home = testHome();
  const made = await run(home, ["token", "create", "--grant", "mcp:use", "--expires", "30d"]);
  const token = made.stdout.trim();
  assert.match(token, /^alk_[a-z2-7]{32}$/);
  const listed = await run(home, ["token", "list", "--json"]);
  assert.ok(!listed.stdout.includes(token.slice(8)) && !listed.stdout.includes(hashToken(token)));
  const { tokens } = JSON.parse(listed.stdout) as { tokens: { prefix: string }[] };
  assert.equal(tokens[0]?.prefix, token.slice(0, 8));
  await ok(home, "token", "revoke", token.slice(0, 8));
  assert.deepEqual(await ok(home, "token", "list"), { tokens: [] });
});

test("a right that is taken away ends its flows in the running node, and says how many", async () => {
  await using server = createServer((socket) => socket.on("error", () => {}).pipe(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  using here = testHome();
  await using node = await startNode(undefined);
  const target = `127.0.0.1:${port}`;
  await ok(
    node.home,
    "peers",
    "add",
    "laptop",
    here.fingerprint,
    "--grant",
    `tunnel:dial:${target}`,
  );
  await ok(node.home, "peers", "grant", "laptop", "git:read");

  await using forward = start(here, ["forward", node.ticket, `0:${target}`, "--json"]);
  const { forwards } = (await forward.ready) as { forwards: { listen: string }[] };
  const local = Number(forwards[0]!.listen.split(":").at(-1));
  const socket = connect(local, "127.0.0.1");
  socket.on("error", () => {});
  socket.write("hello");
  const [echoed] = (await once(socket, "data")) as [Buffer];
  assert.equal(echoed.toString(), "hello");

  const other = await ok(node.home, "peers", "revoke", "laptop", "git:read");
  assert.deepEqual([other["closedConnections"], other["endedGrants"]], [0, 0]);
  const gone = new Promise((resolve) => socket.once("close", resolve));
  const flow = await ok(node.home, "peers", "revoke", "laptop", `tunnel:dial:${target}`);
  assert.deepEqual([flow["running"], flow["closedConnections"], flow["endedGrants"]], [true, 0, 1]);
  await gone;
  const whole = await ok(node.home, "peers", "remove", "laptop");
  assert.deepEqual([whole["closedConnections"], whole["endedGrants"]], [1, 0]);
  const refused = await run(here, ["ping", node.ticket, "--count", "1"]);
  assert.equal(refused.code, 3);
  const { stdout } = await run(node.home, ["log", "--json", "-n", "1"]);
  const last = JSON.parse(stdout) as { kind: string; who: string; reason: string };
  assert.deepEqual([last.kind, last.who, last.reason], ["refused", here.fingerprint, "not a peer"]);
});

test("a mistake in alknet.toml keeps nobody from taking a right away", async () => {
  using here = testHome();
  await using node = await startNode(undefined);
  await ok(node.home, "peers", "add", "laptop", here.fingerprint);
  node.home.config("nam = 1");
  const disabled = await run(node.home, ["peers", "disable", "laptop"]);
  assert.equal(disabled.code, 0, disabled.stderr);
  assert.match(disabled.stderr, /^note: .*alknet\.toml cannot be used/);
  const refused = await run(here, ["ping", node.ticket, "--count", "1"]);
  assert.equal(refused.code, 3);
  const { stdout } = await run(node.home, ["log", "--json", "-n", "1"]);
  const last = JSON.parse(stdout) as { who: string; reason: string };
  assert.deepEqual([last.who, last.reason], ["laptop", "disabled"]);
  const doctor = await run(node.home, ["doctor"]);
  assert.match(doctor.stdout, /fix: to let it in again: alknet peers enable laptop/);
  assert.equal((await run(node.home, ["log", "-n", "0"])).stdout, "");
  await node.program[Symbol.asyncDispose]();
  // Nobody knows where the store is, now.
  assert.equal((await run(node.home, ["peers"])).code, 1);
});

test("doctor names a peer of the store that counts for nothing, because the file has one of that name", async () => {
  using home = testHome();
  await ok(home, "peers", "add", "laptop", A);
  home.config('listen = ["127.0.0.1:0"]', "[peers.laptop]", `fingerprint = "${B}"`);
  const { stdout } = await run(home, ["doctor"]);
  assert.match(stdout, /rights: peer laptop counts for nothing: there is a peer of that name/);
  assert.match(stdout, /fix: .*take \[peers\.laptop\] out of /);
  const { code, stderr } = await run(home, ["config", "check"]);
  assert.equal(code, 0);
  assert.match(
    stderr,
    /^note: .*peer laptop counts for nothing: .*\n.*take \[peers\.laptop\] out of /,
  );
});
