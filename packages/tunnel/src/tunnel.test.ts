import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { CloseCode } from "@alknet/core/close-code";
import { StreamReset } from "@alknet/core/connection";
import { FakeClock } from "@alknet/core/testing";
import { freePort } from "@alknet/core/testing-port";
import { beginFlow, openFlow } from "./open-flow.ts";
import { dialOver, readAll, tcpServer, tunnelPair, unixServer } from "./testing.ts";
import { refusal } from "./test-refusal.ts";
import { encodeRequest } from "./wire/open.ts";

for (const multiplexed of [true, false]) {
  const name = multiplexed ? "many streams" : "one stream";

  test(`tunnel() carries a flow, half-closed by each side in turn (${name})`, async () => {
    const question = randomBytes(400_000);
    const answer = randomBytes(500_000);
    await using target = await tcpServer((socket) => {
      void readAll(socket).then((asked) => {
        assert.deepEqual(asked, question);
        socket.end(answer);
      });
    });
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed });
    const flow = await openFlow(node.dial, target.to);
    assert.equal(node.outbound.flows, 1);
    flow.end(question);
    assert.deepEqual(await readAll(flow), answer);
    await node.client.close();
    await node.served;
    assert.equal(node.outbound.flows, 0);
  });

  test(`tunnel() carries a flow to a Unix socket (${name})`, async () => {
    await using target = await unixServer((socket) => socket.pipe(socket));
    await using node = tunnelPair([`tunnel:dial:unix:${target.path}`], { multiplexed });
    const flow = await openFlow(node.dial, { path: target.path });
    flow.end("hello");
    assert.equal(String(await readAll(flow)), "hello");
  });

  test(`tunnel() ends flows of Unix sockets when their right is taken back, and goes on (${name})`, async () => {
    const taken = Promise.withResolvers<Socket>();
    await using target = await unixServer((socket) => taken.resolve(socket));
    const right = `tunnel:dial:unix:${target.path}`;
    await using node = tunnelPair([right], { multiplexed });
    const flow = await openFlow(node.dial, { path: target.path });
    const failed = once(flow.resume(), "error");
    const socket = (await taken.promise).resume();
    const closed = once(socket, "close");
    node.rights();
    const [error] = await failed;
    assert.ok(error instanceof StreamReset);
    assert.equal(error.resetCode, CloseCode.REVOKED);
    socket.end();
    await closed;
  });

  test(`tunnel() takes bytes that come ahead of its answer (${name})`, async () => {
    await using target = await tcpServer((socket) => socket.pipe(socket));
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed });
    const { flow, opened } = await beginFlow(node.dial, target.to);
    flow.end("early");
    await opened;
    assert.equal(String(await readAll(flow)), "early");
  });

  test(`tunnel() makes a reset of the target a reset of the flow (${name})`, async () => {
    await using target = await tcpServer((socket) => {
      socket.once("data", () => socket.resetAndDestroy());
    });
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed });
    const flow = await openFlow(node.dial, target.to);
    const failed = once(flow, "error");
    flow.write("x");
    flow.resume();
    const [error] = await failed;
    assert.ok(error instanceof StreamReset);
    assert.equal(error.resetCode, 0);
  });

  test(`tunnel() makes a reset of the flow a reset of the target (${name})`, async () => {
    const code = Promise.withResolvers<string>();
    await using target = await tcpServer((socket) => {
      socket.once("error", (error: NodeJS.ErrnoException) => code.resolve(error.code!));
      socket.write("hello");
    });
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed });
    const flow = await openFlow(node.dial, target.to);
    flow.on("error", () => {});
    await once(flow, "data");
    flow.destroy(new Error("enough"));
    assert.equal(await code.promise, "ECONNRESET");
  });

  test(`tunnel() says why it does not open, and the target stays out of the log (${name})`, async () => {
    const dead = await freePort();
    await using target = await tcpServer();
    const resolve = async () => {
      throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
    };
    const options = { multiplexed, resolve };
    const rights = ["tunnel:dial:127.0.0.1:*", "tunnel:dial:*.example:80"];
    for (const [to, expected, text] of [
      [{ host: "127.0.0.1", port: dead }, "refused", `127.0.0.1:${dead}: connection refused`],
      [{ host: "a.example", port: 80 }, "host-not-found", "a.example:80: name not found"],
      [
        { host: "::1", port: target.to.port },
        "not-allowed",
        `[::1]:${target.to.port}: not allowed, this key lacks tunnel:dial:localhost:${target.to.port}`,
      ],
    ] as const) {
      await using node = tunnelPair(rights, options);
      const refused = await refusal(openFlow(node.dial, to));
      assert.equal(refused.refusal, expected);
      assert.equal(refused.message, text);
      const visible = node.log.filter(({ level }) => level !== "debug");
      assert.doesNotMatch(JSON.stringify(visible), /::1|example|127/);
      if (expected === "not-allowed") {
        assert.match(visible[0]!.message, /flow refused: peer "laptop" lacks tunnel:dial/);
      } else {
        assert.deepEqual(visible, []);
      }
    }
  });

  test(`tunnel() names no target in the log when this node can do no more (${name})`, async () => {
    const resolve = async () => {
      throw Object.assign(new Error("too many files"), { code: "EMFILE" });
    };
    const rights = ["tunnel:dial:*.example:80"];
    await using node = tunnelPair(rights, { multiplexed, resolve });
    const target = { host: "a.example", port: 80 };
    const refused = await refusal(openFlow(node.dial, target));
    assert.deepEqual([refused.refusal, refused.message], ["limit", "a.example:80: out of sockets"]);
    const visible = node.log.filter(({ level }) => level !== "debug");
    assert.deepEqual(
      visible.map(({ message }) => message),
      ["flow refused: a limit of this node is reached"],
    );
    assert.doesNotMatch(JSON.stringify(visible), /example/);
  });

  test(`tunnel() ends a flow when its right is taken back, and no other (${name})`, async () => {
    await using a = await tcpServer((socket) => socket.pipe(socket));
    await using b = await tcpServer((socket) => socket.pipe(socket));
    const scope = ({ to }: typeof a) => `tunnel:dial:127.0.0.1:${to.port}`;
    await using node = tunnelPair([scope(a), scope(b)], { multiplexed });
    await using second = node.connect();
    const alsoServed = node.handler.handle(second.server);
    const falls = await openFlow(node.dial, a.to);
    const stays = await openFlow(dialOver(multiplexed ? node.client : second.client), b.to);
    const failed = once(falls.resume(), "error");
    node.rights(scope(b));
    const [error] = await failed;
    assert.ok(error instanceof StreamReset);
    assert.equal(error.resetCode, CloseCode.REVOKED);
    stays.end("still here");
    assert.equal(String(await readAll(stays)), "still here");
    await second.client.close();
    await alsoServed;
  });
}

test("tunnel() refuses a kind of request that it does not know", async () => {
  await using node = tunnelPair(["tunnel:dial"]);
  const stream = await node.client.open();
  stream.write(Buffer.from([99, 0, 1, 7]));
  const reply = await readAll(stream);
  assert.equal(reply[0], 8);
  assert.match(String(reply.subarray(3)), /kind 99/);
});

test("tunnel() resets what is no request, or does not come in time", async () => {
  const clock = new FakeClock();
  await using node = tunnelPair(["tunnel:dial"], { clock });
  const broken = await node.client.open();
  const first = once(broken, "error");
  broken.write(Buffer.from([1, 0xff, 0xff]));
  assert.equal((await first)[0].resetCode, CloseCode.PROTOCOL);

  const slow = await node.client.open();
  const second = once(slow, "error");
  slow.write(encodeRequest({ kind: "tcp", host: "localhost", port: 80 }).subarray(0, -1));
  while (node.log.length < 2) {
    clock.advance(10_000);
    await new Promise(setImmediate);
  }
  assert.equal((await second)[0].resetCode, CloseCode.PROTOCOL);
  assert.equal(node.outbound.flows, 0);
});

test("tunnel() bounds the flows of a peer, over all its connections", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  const limits = { flowsPerPeer: 2 };
  await using node = tunnelPair(["tunnel:dial:localhost:*"], { limits });
  await using second = node.connect();
  const alsoServed = node.handler.handle(second.server);
  const first = await openFlow(node.dial, target.to);
  await openFlow(dialOver(second.client), target.to);
  assert.equal((await refusal(openFlow(node.dial, target.to))).refusal, "limit");
  assert.match(node.log.map(({ message }) => message).join(), /too many flows of one peer/);
  // Given back, it may be used again.
  first.on("error", () => {});
  first.destroy();
  while (node.outbound.flows > 1) await new Promise(setImmediate);
  await openFlow(node.dial, target.to);
  await second.client.close();
  await alsoServed;
});

test("setLimits() holds for the flows that come, and ends none", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"], { limits: { flowsPerPeer: 2 } });
  const first = await openFlow(node.dial, target.to);
  node.outbound.setLimits({ flowsPerPeer: 1 });
  assert.equal((await refusal(openFlow(node.dial, target.to))).refusal, "limit");
  node.outbound.setLimits({});
  await openFlow(node.dial, target.to);
  first.write("still here");
  assert.equal(String((await once(first, "data"))[0]), "still here");
});

test("what a peer has no right to is refused at once, and not behind what waits", async () => {
  const attempts: unknown[] = [];
  const connect = (_address: string, _port: number, signal: AbortSignal) => {
    attempts.push(1);
    const attempt = Promise.withResolvers<Socket>();
    signal.addEventListener("abort", () => attempt.reject(signal.reason as Error));
    return attempt.promise;
  };
  const limits = { openingPerPeer: 1 };
  await using node = tunnelPair(["tunnel:dial:192.0.2.1:80"], { connect, limits });
  const stuck = await beginFlow(node.dial, { host: "192.0.2.1", port: 80 });
  stuck.opened.catch(() => {});
  while (attempts.length < 1) await new Promise(setImmediate);
  const denied = await beginFlow(node.dial, { host: "192.0.2.2", port: 80 });
  assert.equal((await refusal(denied.opened))?.refusal, "not-allowed");
  stuck.flow.destroy();
  while (node.outbound.flows > 0) await new Promise(setImmediate);
});

test("tunnel() has no more flows of a peer on their way than its limit; the others wait", async () => {
  const attempts: PromiseWithResolvers<Socket>[] = [];
  const connect = (_address: string, _port: number, signal: AbortSignal) => {
    const attempt = Promise.withResolvers<Socket>();
    signal.addEventListener("abort", () => attempt.reject(signal.reason as Error));
    attempts.push(attempt);
    return attempt.promise;
  };
  await using node = tunnelPair(["tunnel:dial"], { connect, limits: { openingPerPeer: 2 } });
  const target = { host: "192.0.2.1", port: 80 };
  const flows = await Promise.all([1, 2, 3, 4].map(() => beginFlow(node.dial, target)));
  const outcomes = flows.map(({ opened }) => refusal(opened));
  while (node.outbound.flows < 4) await new Promise(setImmediate);
  assert.equal(attempts.length, 2);
  attempts[0]!.reject(Object.assign(new Error("no"), { code: "ECONNREFUSED" }));
  assert.equal((await outcomes[0])?.refusal, "refused");
  while (attempts.length < 3) await new Promise(setImmediate);
  // Who asked goes away: the attempt ends with it, and the next has its turn.
  outcomes[1]!.catch(() => {});
  flows[1]!.flow.destroy();
  while (attempts.length < 4) await new Promise(setImmediate);
  for (const { flow } of flows) flow.destroy();
  for (const outcome of outcomes.slice(2)) outcome.catch(() => {});
  while (node.outbound.flows > 0) await new Promise(setImmediate);
});

test("tunnel() finishes what it has when it is drained, and begins nothing new", async () => {
  await using target = await tcpServer((socket) => socket.pipe(socket));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const flow = await openFlow(node.dial, target.to);
  node.server.drain();
  let over = false;
  void node.served.then(() => (over = true));
  flow.write("still ");
  assert.equal(String((await once(flow, "data"))[0]), "still ");
  assert.equal(over, false);
  flow.end("here");
  assert.equal(String(await readAll(flow)), "here");
  await node.served;
});

test("tunnel() ends its flows with the connection", async () => {
  const closed = Promise.withResolvers<void>();
  await using target = await tcpServer((socket) => socket.once("close", () => closed.resolve()));
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const flow = await openFlow(node.dial, target.to);
  flow.on("error", () => {});
  node.client.abort(CloseCode.INTERNAL, "gone");
  await closed.promise;
  await node.served;
  assert.equal(node.outbound.flows, 0);
});
