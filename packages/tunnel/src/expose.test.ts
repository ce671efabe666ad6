import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { FakeClock } from "@alknet/core/testing";
import { freePort } from "@alknet/core/testing-port";
import type { DialWithConnection } from "./open-flow.ts";
import { expose, type Exposed } from "./expose.ts";
import type { Origin } from "./inbound.ts";
import { FlowRefused } from "./refused.ts";
import {
  dialOver,
  readAll,
  type TcpServer,
  tcpServer,
  type TunnelPair,
  tunnelPair,
} from "./testing.ts";

const PLACE = { host: "127.0.0.1", port: 0 };
const SCOPE = "tunnel:listen:127.0.0.1:*";

function connectTo({ place }: Exposed): Socket {
  const socket = connect({ ...("path" in place ? place : place), allowHalfOpen: true });
  socket.on("error", () => {});
  return socket;
}

/** A node, and how its peer dials it: a connection for each stream where it has one. */
function exposingPair(
  scopes: readonly string[],
  options: { multiplexed: boolean; clock?: FakeClock },
): TunnelPair & { readonly dialExpose: DialWithConnection } {
  const pair = tunnelPair(scopes, options);
  let first = true;
  const dialExpose: DialWithConnection = async ({ signal }) => {
    if (options.multiplexed || first) {
      first = false;
      return await pair.dial({ signal });
    }
    const { client, server } = pair.connect();
    void pair.handler.handle(server);
    return await dialOver(client)({ signal });
  };
  return Object.assign(pair, { dialExpose });
}

const echo = (): Promise<TcpServer> => tcpServer((socket) => socket.pipe(socket));

/** An echo that is exposed, and a socket that has had an answer from it. */
async function exposedEcho(multiplexed: boolean) {
  await using made = new AsyncDisposableStack();
  const target = made.use(await echo());
  const node = made.use(exposingPair([SCOPE], { multiplexed }));
  const exposed = await expose(node.dialExpose, { place: PLACE, target: target.to });
  const socket = connectTo(exposed);
  socket.write("x");
  await once(socket, "data");
  const owned = made.move();
  return { node, exposed, socket, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function ask(exposed: Exposed, words: string): Promise<string> {
  const socket = connectTo(exposed);
  socket.end(words);
  return String(await readAll(socket));
}

for (const multiplexed of [true, false]) {
  const name = multiplexed ? "many streams" : "one stream";

  test(`expose() carries what connects over there, half-closed by each side in turn (${name})`, async () => {
    const question = randomBytes(400_000);
    const answer = randomBytes(500_000);
    await using target = await tcpServer((socket) => {
      void readAll(socket).then((asked) => {
        assert.deepEqual(asked, question);
        socket.end(answer);
      });
    });
    await using node = exposingPair([SCOPE], { multiplexed });
    const exposed = await expose(node.dialExpose, { place: PLACE, target: target.to });
    const answers = [1, 2, 3].map(async () => {
      const socket = connectTo(exposed);
      socket.end(question);
      return await readAll(socket);
    });
    assert.deepEqual(await Promise.all(answers), [answer, answer, answer]);
    assert.equal(node.inbound.listeners, 1);
    await exposed.close();
    assert.equal(await exposed.closed, undefined);
    assert.equal(node.inbound.listeners, 0);
  });

  test(`expose() makes a reset of either side one of the other (${name})`, async () => {
    await using reset = await tcpServer((socket) => {
      socket.once("data", () => socket.resetAndDestroy());
    });
    await using node = exposingPair([SCOPE], { multiplexed });
    const exposed = await expose(node.dialExpose, { place: PLACE, target: reset.to });
    const socket = connectTo(exposed);
    socket.write("x");
    await assert.rejects(readAll(socket), { code: "ECONNRESET" });
    exposed.abort();

    const failed = Promise.withResolvers<string | undefined>();
    await using target = await tcpServer((there) => {
      there.once("error", (error: NodeJS.ErrnoException) => failed.resolve(error.code));
      there.write("y");
    });
    const other = exposingPair([SCOPE], { multiplexed });
    const second = await expose(other.dialExpose, { place: PLACE, target: target.to });
    const client = connectTo(second);
    await once(client, "data");
    client.resetAndDestroy();
    assert.equal(await failed.promise, "ECONNRESET");
    await second.close();
    await other[Symbol.asyncDispose]();
  });

  test(`expose() is told why the far side does not listen (${name})`, async () => {
    await using taken = await tcpServer();
    for (const [place, refusal, text] of [
      [taken.to, "in-use", `127.0.0.1:${taken.to.port}: something is there already`],
      [
        { host: "*", port: 80 },
        "not-allowed",
        "*:80: not allowed, this key lacks tunnel:listen:0.0.0.0:80",
      ],
      [
        { path: "/run/x.sock" },
        "not-allowed",
        "/run/x.sock: not allowed, this key lacks tunnel:listen:unix:/run/x.sock",
      ],
    ] as const) {
      await using node = exposingPair([SCOPE], { multiplexed });
      await assert.rejects(expose(node.dialExpose, { place, target: taken.to }), (error) => {
        assert.ok(error instanceof FlowRefused);
        assert.deepEqual([error.refusal, error.message], [refusal, text]);
        return true;
      });
      assert.equal(node.inbound.listeners, 0);
    }
  });

  test(`expose() says what a target does not answer, and where who asked came from (${name})`, async () => {
    await using node = exposingPair([SCOPE], { multiplexed });
    const port = await freePort();
    const failures: [Error, Origin][] = [];
    const exposed = await expose(node.dialExpose, {
      place: PLACE,
      target: { host: "127.0.0.1", port },
      onfailure: (...failure) => failures.push(failure),
    });
    const socket = connectTo(exposed);
    await once(socket, "connect");
    const { localPort } = socket;
    await assert.rejects(readAll(socket), { code: "ECONNRESET" });
    assert.equal(failures[0]![0].message, `127.0.0.1:${port}: connection refused`);
    assert.deepEqual(failures[0]![1], { address: "127.0.0.1", port: localPort });
    await exposed.close();
  });

  test(`a right that is taken back ends what is exposed by it, in the midst of a transfer (${name})`, async () => {
    await using it = await exposedEcho(multiplexed);
    const { node, exposed, socket } = it;
    const failed = readAll(socket);
    node.rights("tunnel:listen:[::1]:*");
    await assert.rejects(failed, { code: "ECONNRESET" });
    assert.match(String(await exposed.closed), /127\.0\.0\.1:0: not allowed any more$/);
    assert.equal(node.inbound.listeners, 0);
    assert.equal(exposed.connections, 0);
  });

  test(`expose() leaves nothing over there when who asked has gone (${name})`, async () => {
    await using it = await exposedEcho(multiplexed);
    const { node, exposed, socket } = it;
    const failed = readAll(socket);
    node.client.abort(6, "gone");
    await assert.rejects(failed, { code: "ECONNRESET" });
    assert.ok((await exposed.closed) instanceof Error);
    assert.equal(node.inbound.listeners, 0);
  });

  test(`a node that drains listens no more, and finishes what came (${name})`, async () => {
    await using it = await exposedEcho(multiplexed);
    const { node, exposed, socket } = it;
    node.server.drain();
    assert.match(String(await exposed.closed), /stopped listening/);
    assert.equal(node.inbound.listeners, 0);
    socket.end("finished");
    assert.equal(String(await readAll(socket)), "finished");
    await node.served;
  });

  test(`what stands goes on when close() is called, and nothing new is taken (${name})`, async () => {
    await using it = await exposedEcho(multiplexed);
    const { exposed, socket } = it;
    const closed = exposed.close();
    await exposed.closed;
    assert.equal(
      (await once(connect(exposed.place as { port: number }), "error"))[0].code,
      "ECONNREFUSED",
    );
    socket.end("finished");
    assert.equal(String(await readAll(socket)), "finished");
    await closed;
  });
}

test("several are exposed over one connection, each to its own target", async () => {
  await using node = exposingPair([SCOPE], { multiplexed: true });
  const targets = await Promise.all(
    ["a", "b", "c"].map((letter) => tcpServer((socket) => socket.end(letter))),
  );
  const all = await Promise.all(
    targets.map(({ to }) => expose(node.dialExpose, { place: PLACE, target: to })),
  );
  assert.deepEqual(await Promise.all(all.map((exposed) => ask(exposed, ""))), ["a", "b", "c"]);
  await all[1]!.close();
  assert.equal(await ask(all[2]!, ""), "c");
  for (const exposed of all) await exposed.close();
  for (const target of targets) await target[Symbol.asyncDispose]();
});

test("a connection that nobody claims is reset after ten seconds", async () => {
  const clock = new FakeClock();
  await using target = await echo();
  await using node = exposingPair([SCOPE], { multiplexed: false, clock });
  const never = new Promise<never>(() => {});
  const dial: DialWithConnection = async (options) =>
    node.inbound.listeners > 0 ? await never : await node.dialExpose(options);
  const exposed = await expose(dial, { place: PLACE, target: target.to });
  const socket = connectTo(exposed);
  const failed = assert.rejects(readAll(socket), { code: "ECONNRESET" });
  const before = clock.pending;
  while (clock.pending === before) await new Promise(setImmediate);
  clock.advance(10_000);
  await failed;
  exposed.abort();
});
