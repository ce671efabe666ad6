import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { ownerContext } from "@alknet/core/access";
import { connectionPair } from "@alknet/core/testing";
import { ownAccount } from "@alknet/ssh/account";
import { connectSsh } from "@alknet/ssh/client";
import { ssh } from "@alknet/ssh/ssh";
import { inbound } from "@alknet/tunnel/inbound";
import { hostKeyOf } from "./host-key.ts";
import { parseLocalForward, parseRemoteForward } from "./ssh-forward-spec.ts";
import { listenHere, listenThere } from "./ssh-forwards.ts";

test("a target that resets what came from over there breaks that connection, and no other", async () => {
  await using it = await owner();
  await using target = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", (data) => {
      if (String(data) === "reset") socket.resetAndDestroy();
      else socket.end(data);
    });
  });
  target.listen(0, "127.0.0.1");
  await once(target, "listening");
  const { port } = target.address() as { port: number };
  const refused: Error[] = [];
  const forward = parseRemoteForward(`0:127.0.0.1:${port}`);
  const place = await listenThere(it.client, forward, (_forward, error) => refused.push(error));
  assert.ok("port" in place);
  const ask = async (words: string): Promise<string> => {
    const socket = connect({ host: "127.0.0.1", port: place.port, allowHalfOpen: true });
    socket.write(words);
    return await text(socket).finally(() => socket.destroy());
  };
  await assert.rejects(ask("reset"), { code: "ECONNRESET" });
  assert.equal(await ask("again"), "again");
  assert.deepEqual(refused, []);
});

test(
  "a dial to a target that does not answer is given up with the SSH connection",
  {
    skip: process.platform === "linux" ? false : "elsewhere a full queue of connections is told of",
  },
  async () => {
    await using silent = await silentTarget();
    await using it = await owner();
    const refused: Error[] = [];
    const forward = parseRemoteForward(`0:127.0.0.1:${silent.port}`);
    const place = await listenThere(it.client, forward, (_forward, error) => refused.push(error));
    assert.ok("port" in place);
    const socket = connect({ host: "127.0.0.1", port: place.port });
    socket.on("error", () => {});
    const dials = (): boolean => process.getActiveResourcesInfo().includes("ConnectWrap");
    await once(socket, "connect");
    do await turn();
    while (!dials());
    void it.client.close();
    await it.client.closed;
    for (let turns = 0; dials() && turns < 1_000; turns++) await turn();
    assert.equal(dials(), false);
    assert.deepEqual(refused, []);
    socket.destroy();
  },
);

test("at the path of a listener here what is another's stays, before it and after", async () => {
  const folder = mkdtempSync(join(tmpdir(), "alknet-"));
  try {
    const path = join(folder, "socket");
    const forward = parseLocalForward(`${path}:localhost:1`);
    const never = async (): Promise<never> => assert.fail("nobody connects");
    const listening = await listenHere(forward, never, () => {});
    await assert.rejects(
      listenHere(forward, never, () => {}),
      { code: "EADDRINUSE" },
    );
    rmSync(path);
    writeFileSync(path, "another's");
    await listening.close();
    assert.ok(existsSync(path));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A port whose program takes no connections, and whose queue is full: who dials it waits. */
async function silentTarget() {
  await using made = new AsyncDisposableStack();
  const held = new Int32Array(new SharedArrayBuffer(4));
  const program = `
    const { parentPort, workerData } = require("node:worker_threads");
    const server = require("node:net").createServer();
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      Atomics.wait(workerData, 0, 0);
    });
  `;
  const worker = new Worker(program, { eval: true, workerData: held });
  made.defer(async () => {
    Atomics.store(held, 0, 1);
    Atomics.notify(held, 0);
    await worker.terminate();
  });
  const [port] = (await once(worker, "message")) as [number];
  for (let queued = 0; queued < 2; queued++) {
    const socket = connect({ host: "127.0.0.1", port });
    made.defer(() => void socket.destroy());
    socket.on("error", () => {});
    await once(socket, "connect");
  }
  const owned = made.move();
  return { port, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** A client at a server that listens for it. */
async function owner() {
  await using made = new AsyncDisposableStack();
  const hostKey = hostKeyOf(Buffer.alloc(32, 1));
  const pair = made.use(connectionPair({ auth: { server: ownerContext() } }));
  const server = ssh({ hostKey: hostKey.file, accounts: ownAccount, inbound: inbound() });
  const served = server.handle(pair.server);
  made.defer(async () => {
    pair.client.abort(0);
    await served;
  });
  const client = await connectSsh(await pair.client.open(), {
    user: "",
    checkHostKey: () => true,
  });
  const owned = made.move();
  return { client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
