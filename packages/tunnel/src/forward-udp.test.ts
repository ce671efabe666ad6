import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { FakeClock } from "@alknet/core/testing";
import { forwardUdp } from "./forward-udp.ts";
import type { Listener } from "./listener.ts";
import { tunnelPair, udpServer } from "./testing.ts";

/** A client of a local port. */
async function client({ address: { port } }: Listener, address = "127.0.0.1") {
  const socket = createSocket(address === "::1" ? "udp6" : "udp4").bind(0, address);
  await once(socket, "listening");
  return {
    send: (text: string) => socket.send(text, port, address),
    async ask(text: string): Promise<string> {
      const answer = once(socket, "message") as Promise<[Buffer, { port: number }]>;
      socket.send(text, port, address);
      const [packet, from] = await answer;
      assert.equal(from.port, port);
      return String(packet);
    },
    [Symbol.dispose]: () => void socket.close(),
  };
}

const echo = () => udpServer((packet, reply) => reply(packet));

for (const multiplexed of [true, false]) {
  const name = multiplexed ? "many streams" : "one stream";

  test(`forwardUdp() has a flow for each client, and answers go to who asked (${name})`, async () => {
    await using target = await echo();
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed });
    await using second = node.connect();
    const alsoServed = node.handler.handle(second.server);
    const connections = [node.client, second.client];
    const dial = async () => {
      const connection = multiplexed ? node.client : connections.shift()!;
      return { stream: await connection.open(), connection, multiplexed };
    };
    await using local = await forwardUdp(dial, { port: 0, target: target.to });
    using a = await client(local);
    using b = await client(local);
    assert.deepEqual(await Promise.all([a.ask("a"), b.ask("b")]), ["a", "b"]);
    assert.equal(await a.ask("again"), "again");
    assert.equal(node.outbound.flows, 2);
    assert.equal(local.connections, 2);
    await local.close();
    assert.equal(local.connections, 0);
    while (node.outbound.flows > 0) await turn();
    await second.client.close();
    await alsoServed;
  });
}

test("forwardUdp() is at both loopbacks with one port", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await forwardUdp(node.dial, { port: 0, target: target.to });
  assert.equal(local.address.address, "127.0.0.1");
  using a = await client(local);
  using b = await client(local, "::1");
  assert.deepEqual(await Promise.all([a.ask("a"), b.ask("b")]), ["a", "b"]);
  assert.equal(local.connections, 2);
});

test("forwardUdp() makes room for a new client by who was silent the longest", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await forwardUdp(node.dial, { port: 0, target: target.to, maxClients: 2 });
  using a = await client(local);
  using b = await client(local);
  using c = await client(local);
  await a.ask("a");
  await b.ask("b");
  await a.ask("a");
  await c.ask("c");
  assert.equal(local.connections, 2);
  while (node.outbound.flows > 2) await turn();
  // Who was put out is let in again, by the next that was silent.
  assert.equal(await b.ask("b"), "b");
  assert.equal(local.connections, 2);
});

test("forwardUdp() forgets who is silent", async () => {
  await using target = await echo();
  const clock = new FakeClock();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await forwardUdp(node.dial, { port: 0, target: target.to, clock });
  using a = await client(local);
  await a.ask("a");
  clock.advance(30_000);
  clock.advance(30_000);
  while (local.connections > 0 || node.outbound.flows > 0) await turn();
  assert.equal(await a.ask("a"), "a");
});

test("forwardUdp() tells of a flow that is refused, and asks again for the next packet", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:1"]);
  const failures: Error[] = [];
  const options = { port: 0, target: target.to, onfailure: (error: Error) => failures.push(error) };
  await using local = await forwardUdp(node.dial, options);
  using a = await client(local);
  a.send("a");
  while (failures.length < 1) await turn();
  assert.match(failures[0]!.message, /this key lacks tunnel:dial:localhost/);
  while (local.connections > 0) await turn();
  node.rights("tunnel:dial:localhost:*");
  assert.equal(await a.ask("b"), "b");
});

test("forwardUdp() tells of a peer that is not to be reached", async () => {
  const failures: Error[] = [];
  const dial = async () => {
    throw new Error("no way");
  };
  await using local = await forwardUdp(dial, {
    port: 0,
    target: { host: "db", port: 1 },
    onfailure: (error) => failures.push(error),
  });
  using a = await client(local);
  a.send("a");
  while (failures.length < 1) await turn();
  assert.equal(failures[0]!.message, "no way");
});

test("forwardUdp() rejects where it cannot listen", async () => {
  await using taken = await echo();
  const dial = () => assert.fail();
  await assert.rejects(forwardUdp(dial, { port: taken.to.port, target: taken.to }), {
    code: "EADDRINUSE",
  });
});
