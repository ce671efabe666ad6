import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { CallError } from "./call-error.ts";
import { type CallPair, callPair } from "./test-fixture.ts";
import type { Caller } from "./caller.ts";
import { client } from "./client.ts";
import type { Client } from "./client-types.ts";
import { operation } from "./operation.ts";
import { withEventId } from "./output-stream.ts";

const read = operation({
  name: "fs/read",
  type: "query",
  input: z.object({ path: z.string() }),
  output: z.string(),
  errors: { NO_FILE: { description: "no such file", details: z.object({ path: z.string() }) } },
  handler({ path }, context) {
    if (path === "/none") throw context.error("NO_FILE", { path });
    return `contents of ${path}`;
  },
});
const exec = operation({
  name: "docker/container/exec",
  type: "mutation",
  input: z.object({ words: z.array(z.string()).optional() }),
  output: z.number(),
  handler: ({ words = [] }) => words.length,
});

let following = 0;
const count = operation({
  name: "numbers/count",
  type: "subscription",
  input: z.object({ to: z.number().default(3) }),
  output: z.number(),
  resumable: true,
  async *handler({ to }, { lastEventId = "0" }) {
    following += 1;
    try {
      for (let at = Number(lastEventId) + 1; at <= to; at += 1) yield withEventId(String(at), at);
    } finally {
      following -= 1;
    }
  },
});
const operations = [read, exec, count] as const;

function open(multiplexed = true): { pair: CallPair; node: Client<typeof operations> } {
  const pair = callPair({ operations, multiplexed });
  return { pair, node: client<typeof operations>(pair.client) };
}

test("a client calls operations by their names, however deep", async () => {
  const { pair, node } = open();
  await using _ = pair;
  assert.equal(await node.fs.read({ path: "/a" }), "contents of /a");
  assert.equal(await node.docker.container.exec({ words: ["ls", "-l"] }), 2);
  assert.equal(await node.docker.container.exec(), 0);
  assert.deepEqual(await Promise.all([node.docker.container.exec(), node.fs.read({ path: "/" })]), [
    0,
    "contents of /",
  ]);
});

test("a client iterates subscriptions, and leaving the loop ends the handler", async () => {
  for (const multiplexed of [true, false]) {
    const { pair, node } = open(multiplexed);
    await using _ = pair;
    const seen: number[] = [];
    for await (const number of node.numbers.count()) seen.push(number);
    assert.deepEqual(seen, [1, 2, 3]);
    for await (const number of node.numbers.count({ to: 1e9 })) if (number === 5) break;
    // The abort is on its way before this call.
    await node.docker.container.exec();
    assert.equal(following, 0);
    const from = node.numbers.count({ to: 9 }, { lastEventId: "7" });
    assert.deepEqual(await Array.fromAsync(from), [8, 9]);
    assert.equal(from.lastEventId, "9");
  }
});

test("what a client returns is a call or a subscription, also when it is put aside first", async () => {
  const { pair, node } = open();
  await using _ = pair;
  const call = node.fs.read({ path: "/later" });
  const subscription = node.numbers.count();
  // By now each has begun: one of them asked the node what it is.
  await node.docker.container.exec();
  assert.equal(await call, "contents of /later");
  assert.deepEqual(await Array.fromAsync(subscription), [1, 2, 3]);
  const stats = pair.client.stats();
  assert.equal(stats.outgoing, 0);
});

test("what nobody awaits is called all the same", async () => {
  const called = Promise.withResolvers<void>();
  const note = operation({
    name: "log/note",
    type: "mutation",
    input: z.object({}),
    output: z.null(),
    handler() {
      called.resolve();
      return null;
    },
  });
  await using pair = callPair({ operations: [note] });
  void client<readonly [typeof note]>(pair.client).log.note();
  await called.promise;
});

test("await using of a subscription ends it", async () => {
  const { pair, node } = open();
  await using _ = pair;
  {
    await using numbers = node.numbers.count({ to: 1e9 });
    assert.deepEqual(await numbers.next(), { done: false, value: 1 });
  }
  await node.docker.container.exec();
  assert.equal(following, 0);
});

test("errors are rejections, values to who asks with try(), and typed by isError()", async () => {
  const { pair, node } = open();
  await using _ = pair;
  await assert.rejects(
    async () => await node.fs.read({ path: "/none" }),
    (error) => {
      assert.ok(node.fs.read.isError(error, "NO_FILE"));
      assert.deepEqual(error.details, { path: "/none" });
      return true;
    },
  );
  const result = await node.fs.read.try({ path: "/none" });
  assert.equal(result.ok, false);
  assert.equal(result.error?.code, "NO_FILE");
  assert.deepEqual(await node.fs.read.try({ path: "/a" }), { ok: true, output: "contents of /a" });
  // Not of the node: what the caller did itself is thrown.
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(node.fs.read.try({ path: "/a" }, { signal }), { message: "enough" });
  const caught = await Promise.resolve(node.fs.read({ path: "/none" })).catch((error) => error);
  assert.ok(caught instanceof CallError);
});

test("a name that does not exist is NOT_FOUND; a branch is nothing to await", async () => {
  const { pair, node } = open();
  await using _ = pair;
  const untyped = node as unknown as { no: { such(): Promise<unknown> }; then: unknown };
  await assert.rejects(async () => await untyped.no.such(), { code: "NOT_FOUND" });
  assert.equal(untyped.then, undefined);
  assert.equal((await Promise.resolve(node.fs)) as unknown, node.fs);
});

test("to print a client or a part of it calls nothing", async () => {
  const { pair, node } = open();
  await using _ = pair;
  assert.equal(String(node.fs.read), "operation fs/read");
  assert.equal(`${node.docker as unknown as string}`, "operation docker");
  assert.equal(JSON.stringify({ node, list: [node.fs] }), '{"list":[null]}');
  assert.equal(pair.client.stats().outgoing, 0);
  assert.deepEqual(pair.log, []);
});

test("of what is put aside the node is asked once for each name", async () => {
  const { pair, node } = open();
  await using _ = pair;
  const asked: string[] = [];
  const caller: Caller = {
    call(name, input, options) {
      asked.push(name);
      return pair.client.call(name, input, options);
    },
    subscribe: (...all) => pair.client.subscribe(...all),
  };
  const { fs } = client<typeof operations>(caller);
  const calls = [fs.read({ path: "/a" }), fs.read({ path: "/b" })];
  await node.docker.container.exec();
  calls.push(fs.read({ path: "/c" }));
  await node.docker.container.exec();
  const answers = await Promise.all(calls);
  assert.deepEqual(answers, ["contents of /a", "contents of /b", "contents of /c"]);
  assert.deepEqual(asked, ["services/schema", "fs/read", "fs/read", "fs/read"]);
});

test("a query that is iterated says that it is none to be", async () => {
  const { pair, node } = open();
  await using _ = pair;
  const wrong = node as unknown as { fs: { read(input: object): AsyncIterable<unknown> } };
  await assert.rejects(Array.fromAsync(wrong.fs.read({ path: "/" })), {
    code: "INVALID_OPERATION_TYPE",
  });
});
