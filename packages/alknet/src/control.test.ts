import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { once } from "node:events";
import { askNode, followNode, serveControl } from "./control.ts";

function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "alknet-control-"));
  const run = join(folder, "run");
  return {
    path: { run, controlSocket: join(run, "control.sock") },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

test("askNode() gets what the node answers, and its errors", async () => {
  using home = scratch();
  await using _server = await serveControl(home.path, {
    status: () => ({ version: "1", list: "x".repeat(200_000) }),
    broken() {
      throw new Error("broken inside");
    },
  });
  assert.deepEqual(await askNode(home.path, "status"), {
    version: "1",
    list: "x".repeat(200_000),
  });
  await assert.rejects(askNode(home.path, "broken"), {
    code: "INTERNAL",
    message: /broken inside/,
  });
  await assert.rejects(askNode(home.path, "toString"), { code: "UNKNOWN_REQUEST" });
  assert.equal(statSync(home.path.run).mode & 0o777, 0o700);
  assert.equal(statSync(home.path.controlSocket).mode & 0o777, 0o600);
});

test("askNode() says so when no node runs", async () => {
  using home = scratch();
  await assert.rejects(askNode(home.path, "status"), { code: "NOT_RUNNING" });
  const server = await serveControl(home.path, {});
  await server[Symbol.asyncDispose]();
  assert.equal(existsSync(home.path.controlSocket), false);
  await assert.rejects(askNode(home.path, "status"), { code: "NOT_RUNNING" });
});

test("askNode() and serveControl() trust no folder that others can enter", async () => {
  using home = scratch();
  const server = await serveControl(home.path, { status: () => ({}) });
  chmodSync(home.path.run, 0o755);
  await assert.rejects(askNode(home.path, "status"), { code: "FOLDER_PERMISSIONS" });
  await server[Symbol.asyncDispose]();
  await assert.rejects(serveControl(home.path, {}), { code: "FOLDER_PERMISSIONS" });
});

test("serveControl() takes over from a node that was killed, and not from one that runs", async () => {
  using home = scratch();
  const first = await serveControl(home.path, { status: () => ({ n: 1 }) });
  await assert.rejects(serveControl(home.path, {}), { code: "ALREADY_RUNNING" });
  assert.deepEqual(await askNode(home.path, "status"), { n: 1 });
  await first[Symbol.asyncDispose]();
  writeFileSync(home.path.controlSocket, "left behind");
  await using _second = await serveControl(home.path, { status: () => ({ n: 2 }) });
  assert.deepEqual(await askNode(home.path, "status"), { n: 2 });
});

test("serveControl() bounds what it reads", async () => {
  using home = scratch();
  await using _server = await serveControl(home.path, {});
  for (const request of ["x".repeat(10_000), "not json\n", "[]\n", "null\n"]) {
    const socket = connect(home.path.controlSocket);
    socket.write(request);
    const [chunk] = (await once(socket, "data")) as [Buffer];
    assert.match(String(chunk), /UNKNOWN_REQUEST/);
    socket.destroy();
  }
});

test("askNode() does not take just anything for an answer", async () => {
  using home = scratch();
  await (await serveControl(home.path, {}))[Symbol.asyncDispose]();
  const server = createServer((socket) => socket.resume().end("nonsense"));
  server.listen(home.path.controlSocket);
  await once(server, "listening");
  await assert.rejects(askNode(home.path, "status"), { message: /cannot read the node's answer/ });
  server.close();
  await once(server, "close");
});

test("a request may carry more than its name, and be answered later", async () => {
  using home = scratch();
  await using _server = await serveControl(home.path, {
    async twice({ number }) {
      await new Promise((resolve) => setImmediate(resolve));
      return { number: Number(number) * 2 };
    },
  });
  assert.deepEqual(await askNode(home.path, "twice", { number: 21 }), { number: 42 });
});

test("followNode() gets one document after another, until it has enough", async () => {
  using home = scratch();
  let ended = false;
  await using _server = await serveControl(home.path, {
    async *count(_params, signal) {
      try {
        for (let number = 0; !signal.aborted; number++) {
          yield { number };
          await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        ended = true;
      }
    },
  });
  const stop = new AbortController();
  const seen: unknown[] = [];
  for await (const { number } of followNode(home.path, "count", {}, stop.signal)) {
    seen.push(number);
    if (seen.length === 3) stop.abort();
  }
  assert.deepEqual(seen.slice(0, 3), [0, 1, 2]);
  while (!ended) await new Promise((resolve) => setImmediate(resolve));
});
