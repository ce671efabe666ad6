import assert from "node:assert/strict";
import { test } from "node:test";
import { type Program, run, start, startNode, testHome, type TestHome } from "./testing.ts";

const LOOK = [
  "/node/status",
  "/node/connections/list",
  "/node/peers/list",
  "/node/peers/show",
  "/node/log",
  "/node/metrics",
  "/node/config/show",
  "/node/config/check",
];
const SERVICES = ["/services/list", "/services/schema", "/services/list-peers"];
const PEER_CHANGES = [
  "add",
  "grant",
  "revoke",
  "disable",
  "enable",
  "rename",
  "rotate-key",
  "set-users",
  "set-addresses",
  "remove",
];
const CHANGE = [
  "/node/connections/close",
  ...PEER_CHANGES.map((name) => `/node/peers/${name}`),
  "/node/config/reload",
  "/node/effect",
];

const KEY = `ed25519:${"ab".repeat(32)}`;

type Document = Record<string, unknown>;

/** A command that succeeds, and the document that it prints. */
async function json(home: TestHome, ...args: string[]): Promise<Document> {
  const { code, stdout, stderr } = await run(home, [...args, "--json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Document;
}

/** A command that fails: its exit code and the code of its error. */
async function failure(home: TestHome, ...args: string[]): Promise<[number, string, string]> {
  const { code, stdout } = await run(home, [...args, "--json"]);
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  return [code, error.code, error.message];
}

async function namesOf(home: TestHome, target: string, ...flags: string[]): Promise<string[]> {
  const { operations } = await json(home, "ops", target, ...flags);
  return (operations as { name: string }[]).map(({ name }) => `/${name}`);
}

/** Lines of a program, as they come. */
async function* linesOf({ child }: Program): AsyncGenerator<Document> {
  let text = "";
  for await (const chunk of child.stdout!) {
    text += String(chunk);
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield JSON.parse(text.slice(0, end)) as Document;
      text = text.slice(end + 1);
    }
  }
}

async function interrupt({ child, exited }: Program): Promise<number> {
  child.kill("SIGINT");
  return (await exited).code;
}

test("who may look at a node can look, over QUIC and TCP, and finds nothing else", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:status"]);
  for (const flag of ["--quic", "--tcp"]) {
    const names = await namesOf(laptop, node.ticket, flag);
    assert.deepEqual(names.toSorted(), [...LOOK, ...SERVICES].toSorted());
    const { pid, configuration, limits } = await json(
      laptop,
      "call",
      node.ticket,
      "/node/status",
      flag,
    );
    assert.equal(pid, node.program.child.pid);
    assert.equal((configuration as Document)["state"], "current");
    assert.ok((limits as Document)["caps"]);
  }
  for (const name of CHANGE) {
    const [exit, code, message] = await failure(laptop, "call", node.ticket, name, "{}");
    assert.deepEqual([exit, code], [3, "FORBIDDEN"], name);
    assert.match(message, /missing required scope: node:admin$/);
    const [, unknown] = await failure(laptop, "ops", node.ticket, name);
    assert.equal(unknown, "NOT_FOUND");
  }
  const { stderr } = await run(laptop, ["call", node.ticket, "/node/config/reload"]);
  assert.match(stderr, /^hint: .*over there: alknet peers grant NAME node:admin$/m);
});

test("a peer without these rights sees and may nothing of the node; a stranger does not get in", async () => {
  using laptop = testHome();
  using stranger = testHome();
  await using node = await startNode(laptop, ["call:invoke", "tunnel:dial"]);
  assert.deepEqual(await namesOf(laptop, node.ticket), SERVICES);
  for (const name of [...LOOK, ...CHANGE]) {
    const [exit, code] = await failure(laptop, "call", node.ticket, name, "{}");
    assert.deepEqual([exit, code], [3, "FORBIDDEN"], name);
  }
  const nothing = await failure(laptop, "call", node.ticket, "/node/nothing");
  assert.deepEqual(nothing.slice(0, 2), [1, "NOT_FOUND"]);
  assert.deepEqual((await failure(stranger, "ops", node.ticket)).slice(0, 2), [3, "UNAVAILABLE"]);
});

test("[call] strangers lets unknown keys call what asks for nothing", async () => {
  using den = testHome();
  using stranger = testHome();
  den.config('listen = ["127.0.0.1:0"]', "[call]", "strangers = true");
  await using node = start(den, ["up", "--json"]);
  const { ticket } = (await node.ready) as { ticket: string };
  assert.deepEqual(await namesOf(stranger, ticket), SERVICES);
  const [exit, code, message] = await failure(stranger, "call", ticket, "/node/status");
  assert.deepEqual([exit, code], [3, "FORBIDDEN"]);
  assert.match(message, /authentication required$/);
});

test("the owner has all operations, and calls them with . or --local", async () => {
  await using node = await startNode(undefined);
  const names = await namesOf(node.home, ".");
  assert.deepEqual(names.toSorted(), [...LOOK, ...CHANGE, ...SERVICES].toSorted());
  const { fingerprint } = await json(node.home, "call", "--local", "node/status");
  assert.equal(fingerprint, node.home.fingerprint);
  using elsewhere = testHome();
  assert.deepEqual((await failure(elsewhere, "ops", ".")).slice(0, 2), [1, "NOT_RUNNING"]);
});

test("peers are changed by calls from afar, at once, and the log says by whom", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:admin"]);
  const change = (name: string, ...words: string[]): Promise<Document> =>
    json(laptop, "call", node.ticket, `/node/peers/${name}`, ...words);
  const fails = async (name: string, ...words: string[]) =>
    (await failure(laptop, "call", node.ticket, `/node/peers/${name}`, ...words)).slice(0, 2);
  const show = (name: string) => change("show", "--name", name);

  await change("add", "--name", "desk", "--fingerprints", KEY, "--scopes", "git:read");
  assert.deepEqual(await fails("add", "--name", "desk", "--fingerprints", KEY), [
    1,
    "STORE_EXISTS",
  ]);
  await change("grant", "--name", "desk", "--scopes", "git:write", "fs:read", "--until", "2h");
  const { scopes } = await show("desk");
  assert.deepEqual([(scopes as string[])[0], (scopes as string[]).length], ["git:read", 3]);
  await change("revoke", "--name", "desk", "--scopes", "git:write", "fs:read");
  assert.deepEqual((await show("desk"))["scopes"], ["git:read"]);
  await change("disable", "--name", "desk");
  assert.equal((await show("desk"))["enabled"], false);
  await change("enable", "--name", "desk");
  await change("rename", "--name", "desk", "--to", "table");
  const other = `ed25519:${"cd".repeat(32)}`;
  await change("rotate-key", "--name", "table", "--fingerprint", other);
  const at = ["table.example:7433", "[2001:db8::1]:443"];
  await change("set-addresses", "--name", "table", "--addresses", "table.example", at[1]!);
  assert.deepEqual((await show("table"))["addresses"], at);
  const peer = await show("table");
  assert.deepEqual([peer["enabled"], peer["fingerprints"]], [true, [other]]);
  const { peers } = await json(node.home, "peers");
  assert.deepEqual(
    (peers as { peerId: string }[]).map(({ peerId }) => peerId),
    ["laptop", "table"],
  );

  assert.deepEqual(await fails("revoke", "--name", "table", "--scopes", "x:y"), [
    1,
    "STORE_NOT_FOUND",
  ]);
  assert.deepEqual(await fails("revoke", "--name", "table"), [1, "INVALID_INPUT"]);
  assert.deepEqual(await fails("grant", "--name", "table", "--scopes", "no scope"), [
    1,
    "SCOPE_INVALID",
  ]);
  assert.deepEqual(await fails("rotate-key", "--name", "table", "--fingerprint", "x"), [
    1,
    "FINGERPRINT_INVALID",
  ]);
  assert.deepEqual(await fails("set-addresses", "--name", "table", "--addresses", "a b"), [
    1,
    "ADDRESS_INVALID",
  ]);
  // What stands in alknet.toml is changed there.
  assert.deepEqual(await fails("remove", "--name", "laptop"), [1, "PEER_IN_CONFIG"]);
  assert.equal((await change("remove", "--name", "table"))["peer"], null);
  assert.deepEqual(await fails("show", "--name", "table"), [1, "STORE_NOT_FOUND"]);

  const { stdout } = await run(node.home, ["log", "--json"]);
  const entries = stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
  assert.equal(entries.length, 9);
  for (const { kind, who } of entries as Document[])
    assert.deepEqual([kind, who], ["changed", "laptop"]);
});

test("a right that is revoked ends a subscription under way, and what is called next", async () => {
  using desk = testHome();
  await using node = await startNode(undefined);
  await run(node.home, ["peers", "add", "desk", desk.fingerprint, "--grant", "node:status"]);
  await using following = start(desk, ["call", node.ticket, "/node/log", "--json"]);
  assert.equal((await following.ready)["action"], "peer.add");
  const { endedGrants } = await json(node.home, "peers", "revoke", "desk", "node:status");
  assert.equal(endedGrants, 1);
  const { code, stderr } = await following.exited;
  assert.equal(code, 3, stderr);
  assert.match(stderr, /answers FORBIDDEN: access revoked/);
  assert.deepEqual((await failure(desk, "call", node.ticket, "/node/log")).slice(0, 2), [
    3,
    "FORBIDDEN",
  ]);
});

test("node/log gives refusals and changes as they come, an item a line until Ctrl-C", async () => {
  using laptop = testHome();
  using stranger = testHome();
  await using node = await startNode(laptop, ["node:status"]);
  await using following = start(laptop, [
    "call",
    node.ticket,
    "/node/log",
    "--lines",
    "0",
    "--json",
  ]);
  const lines = linesOf(following);
  const next = async (): Promise<Document> => (await lines.next()).value as Document;
  // Until it is there, nothing that is done would come.
  while (!(await callsOf(node.home)).includes("incoming")) await new Promise(setImmediate);
  const refused = next();
  assert.equal((await run(stranger, ["ping", node.ticket])).code, 3);
  assert.deepEqual(
    [(await refused)["kind"], (await refused)["who"]],
    ["refused", stranger.fingerprint],
  );
  const changed = next();
  await run(node.home, ["peers", "add", "desk", KEY]);
  assert.deepEqual([(await changed)["action"], (await changed)["who"]], ["peer.add", "owner"]);
  assert.equal(await interrupt(following), 130);
  // And nothing of it is left in the node.
  while ((await callsOf(node.home)).includes("incoming")) await new Promise(setImmediate);
});

test("who asks a node that hangs is told so, and how to end it", async () => {
  await using node = await startNode(undefined);
  const { pid } = node.program.child;
  node.home.config(`listen = ["${node.address}"]`);
  node.program.child.kill("SIGSTOP");
  const [{ code, stderr }, second] = await Promise.all([
    run(node.home, ["log", "--follow"]),
    run(node.home, ["up"]),
  ]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`the node, pid ${pid}, runs and does not answer`));
  assert.match(stderr, new RegExp(`^hint: .*kill -KILL ${pid}; alknet up`, "m"));
  assert.match(second.stderr, /^alknet: a node of this folder is running already\nhint: /);
});

/** Which counts of open calls are not null, but for the one that asks. */
async function callsOf(home: TestHome): Promise<string[]> {
  const { calls } = await json(home, "call", ".", "/node/metrics");
  const open = calls as Record<string, number>;
  return Object.keys(open).filter((key) => key !== "sessions" && open[key]! > 0);
}
