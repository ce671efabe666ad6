import assert from "node:assert/strict";
import { test } from "node:test";
import { CloseCode } from "@alknet/core/close-code";
import { freePort } from "@alknet/core/testing-port";
import { callNode } from "./control.ts";
import { run, start, startNode, testHome, type TestHome } from "./testing.ts";

type Document = Record<string, unknown>;

async function json(home: TestHome, ...args: string[]): Promise<Document> {
  const { code, stdout, stderr } = await run(home, [...args, "--json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Document;
}

/** Exit code of a command that fails, and the code of its error. */
async function failure(home: TestHome, ...args: string[]): Promise<[number, string]> {
  const { code, stdout } = await run(home, [...args, "--json"]);
  return [code, (JSON.parse(stdout) as { error: { code: string } }).error.code];
}

test("connections are listed and closed by number, by peer, by service; also the one that asks", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:admin"]);
  const list = async (...words: string[]): Promise<Document[]> => {
    const answer = await json(node.home, "call", ".", "/node/connections/list", ...words);
    return answer["connections"] as Document[];
  };
  const follow = () => start(laptop, ["call", node.ticket, "/node/log", "--json", "--tcp"]);
  // A change that the followers begin with: then they are there.
  const key = `ed25519:${"ab".repeat(32)}`;
  await run(node.home, ["peers", "add", "desk", key]);
  await using first = follow();
  await first.ready;
  await using second = follow();
  await second.ready;
  const [one, two] = await list("--peer", "laptop");
  assert.deepEqual(
    [one!["alpn"], one!["transport"], one!["peer"]],
    ["alknet/call", "tcp", "laptop"],
  );
  assert.notEqual(one!["id"], two!["id"]);
  assert.deepEqual(await list("--alpn", "alknet/ping"), []);
  const { connections } = await json(node.home, "status");
  assert.deepEqual(
    (connections as Document[]).map(({ id }) => id),
    [one!["id"], two!["id"]],
  );

  const close = (home: TestHome, target: string, ...words: string[]) =>
    json(home, "call", target, "/node/connections/close", ...words);
  assert.deepEqual(await close(node.home, ".", "--id", String(one!["id"])), { closed: 1 });
  assert.equal((await first.exited).code, 4);
  assert.deepEqual(
    (await list()).map(({ id }) => id),
    [two!["id"]],
  );
  // The one that asks is a connection of this peer, too, and gets its answer.
  assert.deepEqual(await close(laptop, node.ticket, "--peer", "laptop"), { closed: 2 });
  assert.equal((await second.exited).code, 4);
  assert.deepEqual(await close(node.home, ".", "--id", "99"), { closed: 0 });
  const all = await failure(node.home, "call", ".", "/node/connections/close");
  assert.deepEqual(all, [1, "INVALID_INPUT"]);
});

test("the configuration is shown, checked and reloaded from afar", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:admin"]);
  const config = (name: string) => json(laptop, "call", node.ticket, `/node/config/${name}`);
  const { values } = await config("show");
  const level = (values as Document[]).find(({ key }) => key === "log.level");
  assert.deepEqual(level, { key: "log.level", value: "info", from: "default" });
  assert.equal((await config("check"))["valid"], true);

  const peer = [
    "[peers.laptop]",
    `fingerprint = "${laptop.fingerprint}"`,
    'scopes = ["node:admin"]',
  ];
  node.home.config('listen = ["127.0.0.1:0"]', "[log]", 'level = "warn"', ...peer);
  const { changes } = await config("reload");
  assert.deepEqual((changes as Document)["settings"], ["log.level"]);

  node.home.config('listen = ["127.0.0.1:0"]', "[lgo]", ...peer);
  const { valid, error } = await config("check");
  assert.equal(valid, false);
  const [problem] = (error as { problems: Document[] }).problems;
  assert.deepEqual([problem!["line"], problem!["column"]], [2, 2]);
  for (const name of ["reload", "show"]) {
    const { code, stdout } = await run(laptop, [
      "call",
      node.ticket,
      `/node/config/${name}`,
      "--json",
    ]);
    const { error: refused } = JSON.parse(stdout) as { error: Document };
    assert.deepEqual([code, refused["code"]], [1, "CONFIG_INVALID"]);
    assert.deepEqual((refused["details"] as Document)["problems"], [problem]);
  }
  // What was in use still is: the call got here.
  const { configuration } = await json(laptop, "call", node.ticket, "/node/status");
  assert.equal((configuration as Document)["state"], "refused");
});

test("node/metrics counts what there is", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:status"]);
  const { memory, connections, storeReady, calls, peers } = await json(
    laptop,
    "call",
    node.ticket,
    "/node/metrics",
    "--tcp",
  );
  assert.ok(((memory as Document)["resident"] as number) > 10_000_000);
  assert.deepEqual((connections as Document)["byTransport"], { tcp: 1 });
  assert.deepEqual((connections as Document)["byAlpn"], { "alknet/call": 1 });
  assert.deepEqual([storeReady, peers], [true, 1]);
  assert.deepEqual(calls, { sessions: 1, incoming: 0, outgoing: 0, outgoingBytes: 0 });
});

test("input comes from stdin, too, and a wrong one is told before or by the node", async () => {
  await using node = await startNode(undefined);
  const piped = (input: string) =>
    run(node.home, ["call", ".", "/node/log", "-", "--json"], { input });
  assert.deepEqual(await piped('{"follow":false}'), { code: 0, stdout: "", stderr: "" });
  assert.equal((await piped("{")).code, 2);
  assert.deepEqual(await failure(node.home, "call", ".", "/node/log", "--lnes", "1"), [
    2,
    "INPUT_INVALID",
  ]);
  assert.deepEqual(await failure(node.home, "call", ".", "/node/log", '{"lines":-1}'), [
    1,
    "INVALID_INPUT",
  ]);
  assert.deepEqual(await failure(node.home, "call", "."), [2, "USAGE"]);
  assert.deepEqual(await failure(node.home, "call", ".", "--lines", "1"), [2, "USAGE"]);
  const { stdout } = await run(node.home, ["call", ".", "node/peers/list"]);
  assert.equal(stdout, '{\n  "peers": []\n}\n');
});

test("a call has its time, and says so when that is over", async () => {
  await using node = await startNode(undefined);
  // No change has that number: it would be waited for.
  const late = ["call", ".", "/node/effect", "--change", "1000000", "--timeout", "50ms"];
  assert.deepEqual(await failure(node.home, ...late), [1, "TIMEOUT"]);
  assert.deepEqual(await failure(node.home, ...late.slice(0, -1), "soon"), [2, "USAGE"]);
});

test("a node that is not there is told from one that says no", async () => {
  using laptop = testHome();
  const target = `ed25519:${"1".repeat(64)}@127.0.0.1:${await freePort()}`;
  assert.equal((await failure(laptop, "call", target, "/node/status"))[0], 4);
  assert.equal((await failure(laptop, "ops", "nobody"))[0], 2);
});

test("a subscription to the log goes on where another has ended", async () => {
  await using node = await startNode(undefined);
  const add = (name: string, digit: string) =>
    run(node.home, ["peers", "add", name, `ed25519:${digit.repeat(64)}`]);
  await add("one", "1");
  await add("two", "2");
  const session = await callNode(node.home.home);
  const subjects = async (lastEventId?: string): Promise<[string[], string | undefined]> => {
    const items = session.subscribe("node/log", { follow: false }, { lastEventId });
    const seen: string[] = [];
    for await (const item of items) seen.push((item as { subject: string }).subject);
    return [seen, items.lastEventId];
  };
  const [seen, last] = await subjects();
  assert.deepEqual(seen, ["one", "two"]);
  await add("three", "3");
  assert.deepEqual((await subjects(last))[0], ["three"]);
  // Of another run of the node, or of nobody.
  assert.deepEqual((await subjects(`${last!.slice(0, -8)}00000000`))[0], ["three"]);
  assert.deepEqual((await subjects("nonsense"))[0], ["one", "two", "three"]);
  session.connection.abort(CloseCode.OK);
});

test("a node that stops ends the calls to it, and tells who called", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:status"]);
  await run(node.home, ["peers", "add", "desk", `ed25519:${"ab".repeat(32)}`]);
  await using remote = start(laptop, ["call", node.ticket, "/node/log", "--json"]);
  await using local = start(node.home, ["log", "--follow", "--json"]);
  await Promise.all([remote.ready, local.ready]);
  node.program.child.kill("SIGTERM");
  assert.equal((await node.program.exited).code, 0);
  const ended = await remote.exited;
  assert.equal(ended.code, 4, ended.stderr);
  assert.equal((await local.exited).code, 4);
});

test("names of operations are completed by the node that has them", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["node:status"]);
  const completed = async (home: TestHome, ...words: string[]): Promise<string[]> => {
    const { stdout } = await run(home, ["__complete", "--", ...words]);
    return stdout.split("\n").flatMap((line) => (line === "" ? [] : [line.split("\t")[0]!]));
  };
  // There is little time for it at a prompt: by now the node, and this process, have loaded what they need.
  await json(laptop, "ops", node.ticket);
  for (const local of [".", "--local"]) {
    assert.deepEqual(await completed(node.home, "call", local, "/node/config/"), [
      "/node/config/show",
      "/node/config/check",
      "/node/config/reload",
    ]);
  }
  assert.deepEqual(await completed(laptop, "ops", node.ticket, "/node/config/"), [
    "/node/config/show",
    "/node/config/check",
  ]);
  assert.deepEqual(await completed(laptop, "call", ".", "/node"), []);
  assert.deepEqual(await completed(laptop, "call", ""), ["types", "."]);
});

test("alknet call types gives a declaration of what may be called", async () => {
  await using node = await startNode(undefined);
  const { stdout } = await run(node.home, ["call", "types", "."]);
  assert.match(stdout, /^\/\/ Operations of "\.", as it described them\./);
  for (const name of ["node/status", "node/peers/rotate-key", "services/list"]) {
    assert.ok(stdout.includes(`"${name}": {\n`), name);
  }
  const { declarations } = await json(node.home, "call", "types", ".");
  assert.equal(declarations, stdout);
});
