import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  linkSync,
  mkdtempDisposableSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import { forward, forwardUnix } from "./forward.ts";
import type { Listener } from "./listener.ts";
import type { FlowRefused } from "./refused.ts";
import { dialOver, memoryLog, readAll, tcpServer, tunnelPair } from "./testing.ts";

function connectTo({ address: { address, port } }: Listener): Socket {
  return connect({ host: address, port, allowHalfOpen: true, noDelay: true });
}

test("forward() carries each connection to the target, half-close included", async () => {
  await using target = await tcpServer((socket) => {
    void readAll(socket).then((asked) => socket.end(Buffer.concat([asked, Buffer.from("!")])));
  });
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await forward(node.dial, { port: 0, target: target.to });
  assert.equal(local.address.address, "127.0.0.1");
  const questions = Array.from({ length: 20 }, () => randomBytes(100_000));
  const answers = questions.map((question) => {
    const socket = connectTo(local);
    socket.end(question);
    return readAll(socket);
  });
  assert.deepEqual(
    await Promise.all(answers),
    questions.map((question) => Buffer.concat([question, Buffer.from("!")])),
  );
});

test("forward() is at both loopbacks with one port, unless it is told an address", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  for (const host of [undefined, "localhost"]) {
    await using local = await forward(node.dial, { host, port: 0, target: target.to });
    const { port } = local.address;
    for (const address of ["127.0.0.1", "::1"]) {
      const socket = connect({ host: address, port, allowHalfOpen: true });
      socket.end(address);
      assert.equal(String(await readAll(socket)), address);
    }
    await local.close();
    for (const address of ["127.0.0.1", "::1"]) {
      await assert.rejects(readAll(connect({ host: address, port })), { code: "ECONNREFUSED" });
    }
  }
  await using alone = await forward(node.dial, { host: "127.0.0.1", port: 0, target: target.to });
  const { port } = alone.address;
  await assert.rejects(readAll(connect({ host: "::1", port })), { code: "ECONNREFUSED" });
});

test("forward() works over a connection with one stream for each", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed: false });
  await using local = await forward(node.dial, { port: 0, target: target.to });
  const socket = connectTo(local);
  socket.end("over one stream");
  assert.equal(String(await readAll(socket)), "over one stream");
});

test("forward() resets what is refused, and says why", async () => {
  const port = await freePort();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const { log, logger } = memoryLog();
  const target = { host: "127.0.0.1", port };
  const failures: string[] = [];
  const onfailure = ({ message }: Error) => failures.push(message);
  await using local = await forward(node.dial, { port: 0, target, logger, onfailure });
  await assert.rejects(readAll(connectTo(local)), { code: "ECONNRESET" });
  assert.deepEqual(failures, [`127.0.0.1:${port}: connection refused`]);
  // Who hears of it tells it: twice would be once too often.
  const visible = () => log.filter(({ level }) => level !== "debug");
  assert.deepEqual(visible(), []);

  await using untold = await forward(node.dial, { port: 0, target, logger });
  await assert.rejects(readAll(connectTo(untold)), { code: "ECONNRESET" });
  assert.deepEqual(visible(), [
    { level: "warn", fields: { refusal: "refused" }, message: "not forwarded: refused" },
  ]);
});

test("forward() outlives the way to its peer", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  let away = true;
  const { log, logger } = memoryLog();
  await using local = await forward(
    async (options) => {
      if (away) throw new Error("cannot reach peer");
      return await node.dial(options);
    },
    { port: 0, target: target.to, logger },
  );
  await assert.rejects(readAll(connectTo(local)), { code: "ECONNRESET" });
  assert.equal(log[0]?.message, "not forwarded: cannot reach peer");
  away = false;
  const socket = connectTo(local);
  socket.end("back");
  assert.equal(String(await readAll(socket)), "back");
});

test("forward() finishes what it has when it is closed, and cuts it when it is aborted", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  for (const way of ["close", "abort"] as const) {
    const local = await forward(node.dial, { port: 0, target: target.to });
    const socket = connectTo(local);
    socket.write("begun ");
    await once(socket, "data");
    const closed = local.close();
    const refused = connectTo(local);
    assert.equal((await once(refused, "error"))[0].code, "ECONNREFUSED");
    if (way === "close") {
      socket.end("and finished");
      assert.equal(String(await readAll(socket)), "and finished");
    } else {
      const failed = once(socket, "error");
      local.abort();
      assert.equal((await failed)[0].code, "ECONNRESET");
    }
    await closed;
    assert.equal(local.connections, 0);
  }
});

test("forward() gives a request up when its client goes", async () => {
  await using node = tunnelPair(["tunnel:dial"], {
    connect: (_address, _port, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  });
  await using local = await forward(node.dial, { port: 0, target: { host: "192.0.2.1", port: 9 } });
  const socket = connectTo(local);
  await once(socket, "connect");
  while (node.outbound.flows === 0) await new Promise(setImmediate);
  socket.resetAndDestroy();
  while (node.outbound.flows > 0) await new Promise(setImmediate);
});

test("forward() rejects when the port is taken", async () => {
  await using taken = await tcpServer();
  await using node = tunnelPair([]);
  const options = { port: taken.to.port, target: { host: "a", port: 1 } };
  await assert.rejects(forward(dialOver(node.client), options), { code: "EADDRINUSE" });
});

test("forwardUnix() carries each connection to a socket of this user alone, which goes with it", async () => {
  await using target = await tcpServer((socket) => {
    void readAll(socket).then((asked) => socket.end(Buffer.concat([asked, Buffer.from("!")])));
  });
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  using folder = mkdtempDisposableSync(join(tmpdir(), "alknet-"));
  const path = join(folder.path, "socket");
  await using local = await forwardUnix(node.dial, { path, target: target.to });
  assert.equal(local.address, path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const socket = connect({ path, allowHalfOpen: true });
  socket.end("half-closed");
  assert.equal(String(await readAll(socket)), "half-closed!");
  await local.close();
  assert.deepEqual(readdirSync(folder.path), []);
});

test("forwardUnix() closes what is refused, and says why", async () => {
  await using node = tunnelPair([]);
  using folder = mkdtempDisposableSync(join(tmpdir(), "alknet-"));
  const path = join(folder.path, "socket");
  const target = { host: "localhost", port: 1 };
  const failed = Promise.withResolvers<Error>();
  await using _local = await forwardUnix(node.dial, { path, target, onfailure: failed.resolve });
  const socket = connect({ path, allowHalfOpen: true });
  assert.equal(String(await readAll(socket)), "");
  assert.equal(((await failed.promise) as FlowRefused).refusal, "not-allowed");
});

test("forwardUnix() takes the place of a dead socket and says so, and of nothing else", async () => {
  await using node = tunnelPair([]);
  using folder = mkdtempDisposableSync(join(tmpdir(), "alknet-"));
  const path = join(folder.path, "socket");
  const target = { host: "localhost", port: 1 };
  const server = createServer().listen(`${path}.made`);
  await once(server, "listening");
  linkSync(`${path}.made`, path);
  server.close();
  await once(server, "close");
  const { log, logger } = memoryLog();
  await using _local = await forwardUnix(node.dial, { path, target, logger });
  assert.deepEqual(
    log.map(({ message }) => message),
    [`replaces ${path}: nobody listened there any more`],
  );
  const file = join(folder.path, "file");
  writeFileSync(file, "another's");
  for (const [taken, error] of [
    [path, { code: "EADDRINUSE", message: `EADDRINUSE: something is there already, ${path}` }],
    [file, { code: "EADDRINUSE" }],
    [join(folder.path, "none/socket"), { code: "ENOENT", message: /its folder does not exist/ }],
    [`/${"x".repeat(200)}`, { code: "ENAMETOOLONG" }],
  ] as const) {
    await assert.rejects(forwardUnix(node.dial, { path: taken, target }), error);
  }
  assert.equal(readFileSync(file, "utf8"), "another's");
});

test("forwardUnix() closes connections above its limit at once", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  using folder = mkdtempDisposableSync(join(tmpdir(), "alknet-"));
  const path = join(folder.path, "socket");
  const options = { path, target: target.to, maxConnections: 1 };
  await using local = await forwardUnix(node.dial, options);
  const first = connect({ path, allowHalfOpen: true });
  first.write("x");
  await once(first, "data");
  assert.equal(String(await readAll(connect(path))), "");
  assert.equal(local.connections, 1);
  first.end();
  await once(first, "close");
});
