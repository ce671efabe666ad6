import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Listener } from "./listener.ts";
import { socks, type SocksTarget } from "./socks.ts";
import { associateUdp, type AssociateOptions } from "./socks-udp.ts";
import { readAll, tunnelPair, type TunnelPair, udpServer } from "./testing.ts";
import { encodeConnect } from "./wire/socks5-client.ts";

const echo = () => udpServer((packet, reply) => reply(Buffer.concat([Buffer.from("re:"), packet])));

function proxy(node: TunnelPair, options: AssociateOptions = {}): Promise<Listener> {
  return socks(node.dial, { port: 0, associate: associateUdp(node.dial, options), onfailure() {} });
}

/** An association, and a socket that uses it. `announced`: the client says where it will send from. */
async function association({ address }: Listener, announced = false) {
  const udp = createSocket("udp4").bind(0, "127.0.0.1");
  await once(udp, "listening");
  const tcp = connect({ host: address.address, port: address.port, allowHalfOpen: true });
  await once(tcp, "connect");
  tcp.write(Buffer.of(5, 1, 0));
  assert.equal(((await once(tcp, "data"))[0] as Buffer).toString("hex"), "0500");
  const port = announced ? udp.address().port : 0;
  tcp.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, port >> 8, port & 0xff]));
  const [reply] = (await once(tcp, "data")) as [Buffer];
  assert.equal(reply.subarray(0, 8).toString("hex"), "050000017f000001");
  const relay = reply.readUInt16BE(8);
  const send = (packet: Uint8Array, from = udp) =>
    new Promise<unknown>((resolve) => from.send(packet, relay, "127.0.0.1", resolve));
  return {
    tcp,
    udp,
    send,
    async ask(packet: Uint8Array): Promise<Buffer> {
      const answer = once(udp, "message") as Promise<[Buffer]>;
      await send(packet);
      return (await answer)[0];
    },
    [Symbol.dispose]() {
      udp.close();
      tcp.destroy();
    },
  };
}

/** A packet for `to`. */
function packetFor(to: string | Uint8Array, port: number, data: string): Buffer {
  const address = encodeConnect(to, port).subarray(3);
  return Buffer.concat([Buffer.of(0, 0, 0), address, Buffer.from(data)]);
}

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

async function closed(tcp: Socket): Promise<void> {
  tcp.on("error", () => {});
  if (!tcp.closed) await once(tcp.resume().end(), "close");
}

test("associateUdp() carries packets to addresses and names, and says where an answer comes from", async () => {
  await using target = await echo();
  const { port } = target.to;
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await proxy(node);
  for (const announced of [false, true]) {
    using client = await association(local, announced);
    for (const to of [LOOPBACK, "localhost"]) {
      const answer = await client.ask(packetFor(to, port, "hello"));
      assert.deepEqual(answer, packetFor(to, port, "re:hello"));
    }
    client.tcp.end();
    await closed(client.tcp);
    while (node.outbound.flows > 0) await turn();
  }
});

test("associateUdp() takes packets of its client only, and no fragments", async () => {
  const got: string[] = [];
  await using target = await udpServer((packet, reply) => {
    got.push(String(packet));
    reply(packet);
  });
  const { port } = target.to;
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await proxy(node);
  using client = await association(local);
  await client.ask(packetFor(LOOPBACK, port, "first"));
  // The same machine, but not the same socket; and from another address.
  for (const host of ["127.0.0.1", "127.0.0.2"]) {
    const other = createSocket("udp4").bind(0, host);
    await once(other, "listening");
    await client.send(packetFor(LOOPBACK, port, "stranger"), other);
    other.close();
  }
  await client.send(packetFor(LOOPBACK, port, "fragment").fill(1, 2, 3));
  await client.send(Buffer.from("no packet"));
  await client.ask(packetFor(LOOPBACK, port, "last"));
  assert.deepEqual(got, ["first", "last"]);
});

test("associateUdp() ends with the connection that it was asked for on, and with the proxy", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const local = await proxy(node);
  using first = await association(local);
  using second = await association(local);
  for (const client of [first, second]) {
    await client.ask(packetFor(LOOPBACK, target.to.port, "x"));
  }
  assert.equal(node.outbound.flows, 2);
  first.tcp.resetAndDestroy();
  while (node.outbound.flows > 1) await turn();
  local.abort();
  await local.close();
  while (node.outbound.flows > 0) await turn();
  await closed(second.tcp);
});

test("associateUdp() bounds the targets of a client, and tells of those that are refused", async () => {
  await using a = await echo();
  await using b = await echo();
  const scopes = [a, b].map(({ to }) => `tunnel:dial:127.0.0.1:${to.port}`);
  await using node = tunnelPair(scopes);
  const failures: SocksTarget[] = [];
  const onfailure = (_: Error, asked: SocksTarget) => void failures.push(asked);
  await using local = await proxy(node, { maxTargets: 1, onfailure });
  using client = await association(local);
  await client.ask(packetFor(LOOPBACK, a.to.port, "a"));
  await client.ask(packetFor(LOOPBACK, b.to.port, "b"));
  while (node.outbound.flows > 1) await turn();
  await client.send(packetFor("other.example", 53, "c"));
  while (failures.length < 1) await turn();
  assert.deepEqual(failures, [{ host: "other.example", port: 53 }]);
});

test("without associateUdp() the proxy refuses UDP", async () => {
  await using node = tunnelPair([]);
  await using local = await socks(node.dial, { port: 0, onfailure() {} });
  const tcp = connect({ host: "127.0.0.1", port: local.address.port });
  tcp.write(Buffer.of(5, 1, 0));
  await once(tcp, "data");
  tcp.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
  assert.equal((await readAll(tcp))[1], 7);
});

test("associateUdp() refuses a client that does not say where it will send from, where that is demanded", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  await using local = await proxy(node, { announced: true });
  using client = await association(local, true);
  const answer = await client.ask(packetFor(LOOPBACK, target.to.port, "hello"));
  assert.deepEqual(answer, packetFor(LOOPBACK, target.to.port, "re:hello"));
  const tcp = connect({ host: "127.0.0.1", port: local.address.port });
  tcp.write(Buffer.of(5, 1, 0));
  await once(tcp, "data");
  tcp.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
  assert.equal((await readAll(tcp))[1], 2);
});
