import assert from "node:assert/strict";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { callHandler } from "@alknet/call/call-handler";
import { type AnyOperation, operation } from "@alknet/call/operation";
import { createRegistry } from "@alknet/call/registry";
import * as z from "zod";
import { askNode, callNode, followNode, serveControl } from "./control.ts";

function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "alknet-control-"));
  const path = join(folder, "run");
  return {
    path: { run: path, controlSocket: join(path, "control.sock") },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** What a node of these operations does with a connection to its socket. */
function answering(...operations: readonly AnyOperation[]) {
  const handler = callHandler({ registry: createRegistry(operations) });
  return (connection: Parameters<typeof handler.handle>[0]) => handler.handle(connection);
}

const statusOf = (handler: () => object) =>
  operation({
    name: "node/status",
    type: "query",
    access: { scopes: ["node:status"] },
    input: z.object({}),
    output: z.looseObject({}),

    handler: (_, context) => {
      assert.equal(context.caller?.id, "owner");
      return { ...handler() };
    },
  });

test("askNode() gets what the node answers, as its owner", async () => {
  using home = scratch();
  const list = "x".repeat(200_000);
  await using server = await serveControl(home.path, answering(statusOf(() => ({ list }))));
  const answer: object = await askNode(home.path, (node) => node.status());
  assert.deepEqual(answer, { list });
  assert.equal(statSync(home.path.run).mode & 0o777, 0o700);
  assert.equal(statSync(home.path.controlSocket).mode & 0o777, 0o600);
  const pid = readFileSync(join(home.path.run, "node.pid"), "utf8");
  assert.equal(pid, `${process.pid}\n`);
  await server[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(home.path.run), []);
});

test("askNode() tells the node's errors by their code", async () => {
  using home = scratch();
  const broken = operation({
    name: "node/effect",
    type: "query",
    input: z.object({}),
    output: z.object({}),
    errors: { CHANGE_NOT_SEEN: { description: "not seen" } },
    handler(_, context) {
      throw context.error("CHANGE_NOT_SEEN");
    },
  });
  await using _server = await serveControl(home.path, answering(broken));
  await assert.rejects(
    askNode(home.path, (node) => node.effect({ change: 1 })),
    { name: "CommandError", code: "CHANGE_NOT_SEEN", message: "the node answers: not seen" },
  );
  await assert.rejects(
    askNode(home.path, (node) => node.status()),
    { code: "NOT_FOUND", message: "the node answers: operation not found: node/status" },
  );
});

test("askNode() says so when no node runs", async () => {
  using home = scratch();
  const ask = () => askNode(home.path, (node) => node.status());
  await assert.rejects(ask(), { code: "NOT_RUNNING" });
  const server = await serveControl(home.path, answering());
  await server[Symbol.asyncDispose]();
  assert.equal(existsSync(home.path.controlSocket), false);
  await assert.rejects(ask(), { code: "NOT_RUNNING" });
});

test("askNode() and serveControl() trust no folder that others can enter", async () => {
  using home = scratch();
  const server = await serveControl(home.path, answering());
  chmodSync(home.path.run, 0o755);
  await assert.rejects(
    askNode(home.path, (node) => node.status()),
    { code: "FOLDER_PERMISSIONS" },
  );
  await server[Symbol.asyncDispose]();
  await assert.rejects(serveControl(home.path, answering()), { code: "FOLDER_PERMISSIONS" });
});

test("serveControl() takes over from a node that was killed, and not from one that runs", async () => {
  using home = scratch();
  const asked = async (): Promise<object> => await askNode(home.path, (node) => node.status());
  const first = await serveControl(home.path, answering(statusOf(() => ({ n: 1 }))));
  await assert.rejects(serveControl(home.path, answering()), { code: "ALREADY_RUNNING" });
  assert.deepEqual(await asked(), { n: 1 });
  await first[Symbol.asyncDispose]();
  writeFileSync(home.path.controlSocket, "left behind");
  await using _second = await serveControl(home.path, answering(statusOf(() => ({ n: 2 }))));
  assert.deepEqual(await asked(), { n: 2 });
});

test("serveControl() ends who does not speak the protocol, and goes on with others", async () => {
  using home = scratch();
  await using _server = await serveControl(home.path, answering(statusOf(() => ({ n: 1 }))));
  const kept = await callNode(home.path);
  // The last is the length of a frame that nobody may send.
  for (const bytes of ['{"request":"status"}\n', "GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff"]) {
    const socket = connect(home.path.controlSocket).resume();
    socket.on("error", () => {}).write(Buffer.from(bytes, "latin1"));
    await once(socket, "close");
  }
  assert.deepEqual(await kept.call("node/status", {}), { n: 1 });
  await kept.close();
});

test("askNode() does not take just anything for an answer", async () => {
  using home = scratch();
  await (await serveControl(home.path, answering()))[Symbol.asyncDispose]();
  const server = createServer((socket) => socket.resume().end("nonsense"));
  server.listen(home.path.controlSocket);
  await once(server, "listening");
  await assert.rejects(
    askNode(home.path, (node) => node.status()),
    { code: "CONNECTION_LOST", message: /it has ended, or is of another version/ },
  );
  server.close();
  await once(server, "close");
});

test("followNode() gets one item after another, until it has enough", async () => {
  using home = scratch();
  const ended = Promise.withResolvers<void>();
  const count = operation({
    name: "node/log",
    type: "subscription",
    input: z.looseObject({}),
    output: z.number(),
    async *handler() {
      try {
        for (let number = 0; ; number++) yield number;
      } finally {
        ended.resolve();
      }
    },
  });
  await using _server = await serveControl(home.path, answering(count));
  const stop = new AbortController();
  const seen: unknown[] = [];
  for await (const item of followNode(home.path, (node) => node.log(), stop.signal)) {
    seen.push(item);
    if (seen.length === 3) stop.abort();
  }
  assert.deepEqual(seen.slice(0, 3), [0, 1, 2]);
  await ended.promise;
});

test("followNode() tells of a node that ends meanwhile", async () => {
  using home = scratch();
  const one = operation({
    name: "node/log",
    type: "subscription",
    input: z.looseObject({}),
    output: z.number(),
    async *handler(_, { signal }) {
      yield 1;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  const server = await serveControl(home.path, answering(one));
  const { signal } = new AbortController();
  const items = followNode(home.path, (node) => node.log(), signal);
  assert.equal((await items.next()).value, 1);
  const next = items.next();
  await server[Symbol.asyncDispose]();
  await assert.rejects(next, { code: "CONNECTION_LOST" });
});
