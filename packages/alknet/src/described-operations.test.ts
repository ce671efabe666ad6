import assert from "node:assert/strict";
import { test } from "node:test";
import { callHandler } from "@alknet/call/call-handler";
import { type AnyOperation, operation } from "@alknet/call/operation";
import { createRegistry } from "@alknet/call/registry";
import * as z from "zod";
import { serveControl } from "./control.ts";
import { run, testHome } from "./testing.ts";

/** A folder in which somebody answers these. */
async function answering(...operations: readonly AnyOperation[]) {
  const stack = new AsyncDisposableStack();
  const home = stack.use(testHome());
  const handler = callHandler({ registry: createRegistry(operations) });
  stack.use(await serveControl(home.home, (connection) => handler.handle(connection)));
  return { home, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const answer = (name: string, output: unknown) =>
  operation({
    name,
    type: "query",
    input: z.unknown(),
    output: z.unknown(),
    handler: () => output,
  });

test("alknet ops shows a node's own words on a terminal as text", async () => {
  const description = "lists\u001b[2Jfiles";
  const list = operation({
    name: "fs/list",
    type: "query",
    description,
    access: { scopes: ["fs:read"], resourceType: "bucket" },
    input: z.object({ path: z.string(), deep: z.boolean().optional() }),
    output: z.array(z.string()),
    handler: () => ["a\u001b[2J\u{e0001}"],
  });
  await using node = await answering(list);
  const { stdout } = await run(node.home, ["ops", "."]);
  assert.match(
    stdout,
    /^\/fs\/list +query +fs:read and a resource bucket\/\* +--path \[--deep\]$/m,
  );
  const shown = await run(node.home, ["ops", ".", "/fs/list"]);
  assert.match(shown.stdout, /^about +lists\ufffd\[2Jfiles$/m);
  const called = await run(node.home, ["call", ".", "/fs/list", "--path", "/", "--no-deep"]);
  assert.equal(called.stdout, '[\n  "a\\u001b[2J\\udb40\\udc01"\n]\n');
  assert.deepEqual(JSON.parse(called.stdout), ["a\u001b[2J\u{e0001}"]);
});

test("alknet ops and call take no nonsense for the description of an operation", async () => {
  const lists = [{ operations: "none" }, { operations: [{ name: 1 }] }, null, "x"];
  for (const output of lists) {
    await using node = await answering(answer("services/list", output));
    const { code, stderr } = await run(node.home, ["ops", "."]);
    assert.equal(code, 1);
    assert.match(stderr, /^alknet: cannot read what the node says of its operations$/m);
  }
  const schema = {
    name: "a/b",
    namespace: "a",
    op_type: "query",
    input_schema: {},
    output_schema: {},
  };
  for (const output of [schema, { ...schema, access_control: [] }, { access_control: {} }]) {
    await using node = await answering(answer("services/schema", output), answer("a/b", 1));
    assert.equal((await run(node.home, ["call", ".", "/a/b"])).code, 1);
  }
});
