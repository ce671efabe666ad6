import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { CloseCode } from "@alknet/core/close-code";
import { FakeClock } from "@alknet/core/testing";
import { openUdp, type UdpFlow } from "./open-udp.ts";
import { FlowRefused } from "./refused.ts";
import { readAll, testPeer, tunnelPair, udpServer } from "./testing.ts";
import { outbound } from "./outbound.ts";
import { ownSockets } from "./own-sockets.ts";
import { parseProxy } from "./proxy.ts";
import { encodeRequest } from "./wire/open.ts";

/** Echoes each packet with "re:" before it. */
const echo = () => udpServer((packet, reply) => reply(Buffer.concat([Buffer.from("re:"), packet])));

/** Packets that come back, in order. */
function inbox() {
  const packets: Buffer[] = [];
  let wake = (): void => {};
  return {
    onpacket: (packet: Uint8Array) => {
      packets.push(Buffer.from(packet));
      wake();
    },
    async next(): Promise<Buffer> {
      while (packets.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return packets.shift()!;
    },
  };
}

async function ended(flow: UdpFlow): Promise<void> {
  flow.close();
  assert.equal(await flow.closed, undefined);
}

for (const multiplexed of [true, false]) {
  const name = multiplexed ? "datagrams" : "one stream";

  test(`openUdp() carries packets both ways, small, large and empty (${name})`, async () => {
    await using target = await echo();
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed });
    const box = inbox();
    const flow = await openUdp(node.dial, target.to, box);
    for (const size of [1, 4_096, 0, 40_000, 100]) {
      const packet = randomBytes(size);
      assert.equal(flow.send(packet), true);
      assert.deepEqual(await box.next(), Buffer.concat([Buffer.from("re:"), packet]));
    }
    assert.equal(node.outbound.flows, 1);
    assert.equal(flow.send(Buffer.alloc(65_508)), false);
    assert.equal(flow.dropped, 1);
    await ended(flow);
    await node.client.close();
    await node.served;
    assert.equal(node.outbound.flows, 0);
  });

  test(`openUdp() says why there is no flow (${name})`, async () => {
    await using target = await echo();
    const right = `tunnel:dial:127.0.0.1:${target.to.port}`;
    for (const [to, expected] of [
      [{ host: "127.0.0.1", port: target.to.port + 1 }, "not-allowed"],
      [{ host: "192.0.2.1", port: target.to.port }, "not-allowed"],
    ] as const) {
      await using node = tunnelPair([right], { multiplexed });
      const flow = await openUdp(node.dial, to, inbox());
      flow.send(Buffer.from("early"));
      const error = await flow.closed;
      assert.ok(error instanceof FlowRefused, String(error));
      assert.equal(error.refusal, expected);
      assert.match(error.message, /lacks tunnel:dial/);
      assert.equal(flow.send(Buffer.from("late")), false);
    }
  });

  test(`a UDP flow ends when its right is taken back, and no other (${name})`, async () => {
    await using a = await echo();
    await using b = await echo();
    const scope = ({ to }: typeof a) => `tunnel:dial:127.0.0.1:${to.port}`;
    await using node = tunnelPair([scope(a), scope(b)], { multiplexed });
    await using second = node.connect();
    const alsoServed = node.handler.handle(second.server);
    const falls = await openUdp(node.dial, a.to, inbox());
    const box = inbox();
    const dial = async () => ({
      stream: await second.client.open(),
      connection: second.client,
      multiplexed,
    });
    const stays = await openUdp(dial, b.to, box);
    stays.send(Buffer.from("1"));
    await box.next();
    while (node.outbound.flows < 2) await turn();
    node.rights(scope(b));
    const error = await falls.closed;
    if (multiplexed) assert.equal((error as { resetCode?: number }).resetCode, CloseCode.REVOKED);
    assert.equal(falls.send(Buffer.from("late")), false);
    stays.send(Buffer.from("2"));
    assert.equal(String(await box.next()), "re:2");
    await ended(stays);
    await second.client.close();
    await alsoServed;
  });

  test(`a UDP flow that is silent ends on both sides (${name})`, async () => {
    await using target = await echo();
    const clock = new FakeClock();
    await using node = tunnelPair(["tunnel:dial:localhost:*"], { multiplexed, clock });
    const box = inbox();
    const flow = await openUdp(node.dial, target.to, { ...box, clock });
    flow.send(Buffer.from("1"));
    await box.next();
    for (let at = 0; at < 4; at++) {
      // Half a minute and a packet: that goes on for ever.
      clock.advance(30_000);
      flow.send(Buffer.from("1"));
      await box.next();
    }
    assert.equal(node.outbound.flows, 1);
    clock.advance(30_000);
    clock.advance(30_000);
    assert.equal(await flow.closed, undefined);
    while (node.outbound.flows > 0) await turn();
  });
}

test("packets that are longer than a datagram go on the stream, the others do not", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const box = inbox();
  const flow = await openUdp(node.dial, target.to, box);
  flow.send(Buffer.from("opens it"));
  await box.next();
  const sent: number[] = [];
  const { datagrams } = node.client;
  const send = datagrams!.send.bind(datagrams);
  Object.assign(datagrams!, {
    send: (message: Uint8Array) => {
      sent.push(message.length);
      return send(message);
    },
  });
  for (const size of [100, datagrams!.maxSize - 1, datagrams!.maxSize, 9_000]) {
    flow.send(Buffer.alloc(size));
    assert.equal((await box.next()).length, size + 3);
  }
  assert.deepEqual(sent, [101, datagrams!.maxSize]);
  await ended(flow);
});

test("a name with several addresses is tried until one answers", async () => {
  await using target = await echo();
  // Nobody listens at ::1; the system says so, and the packet goes to the next.
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const box = inbox();
  const flow = await openUdp(node.dial, { host: "localhost", port: target.to.port }, box);
  flow.send(Buffer.from("1"));
  assert.equal(String(await box.next()), "re:1");
  await ended(flow);
});

test("a target that is not there drops packets, and comes back", async () => {
  const { to, ...gone } = await echo();
  await gone[Symbol.asyncDispose]();
  await using node = tunnelPair(["tunnel:dial:127.0.0.1:*"]);
  const box = inbox();
  const flow = await openUdp(node.dial, to, box);
  for (let at = 0; at < 5; at++) {
    flow.send(Buffer.from("lost"));
    await turn();
  }
  const socket = createSocket("udp4").bind(to.port, "127.0.0.1");
  socket.on("message", (packet, from) => socket.send(packet, from.port, from.address));
  await once(socket, "listening");
  flow.send(Buffer.from("found"));
  while (String(await box.next()) !== "found");
  socket.close();
  await ended(flow);
});

test("UDP flows count with the others, and the limit is told", async () => {
  await using target = await echo();
  const limits = { flowsPerPeer: 1 };
  await using node = tunnelPair(["tunnel:dial:localhost:*"], { limits });
  const first = await openUdp(node.dial, target.to, inbox());
  while (node.outbound.flows < 1) await turn();
  const second = await openUdp(node.dial, target.to, inbox());
  assert.equal(((await second.closed) as FlowRefused).refusal, "limit");
  await ended(first);
});

test("UDP reaches no socket of the node itself, and goes around no proxy", async () => {
  await using target = await udpServer(() => assert.fail("reached"));
  const { port } = target.to;
  const { auth } = testPeer("tunnel:dial:localhost:*");
  const options = { signal: new AbortController().signal };
  const own = ownSockets({ addresses: () => [{ host: "::", port }], paths: () => [] });
  for (const host of ["127.0.0.1", "::ffff:127.0.0.1", "localhost"]) {
    await assert.rejects(outbound({ own }).openUdp(auth, { host, port }, options), {
      refusal: "not-allowed",
    });
  }
  const out = outbound({ proxy: parseProxy("socks5://127.0.0.1:1") });
  await assert.rejects(out.openUdp(auth, target.to, options), {
    refusal: "unsupported",
    message: `127.0.0.1:${port}: UDP goes through no proxy`,
  });
  assert.equal(out.flows, 0);
});

test("a stream of packets that is none is reset", async () => {
  await using target = await echo();
  await using node = tunnelPair(["tunnel:dial:localhost:*"]);
  const stream = await node.client.open();
  const failed = readAll(stream);
  stream.write(encodeRequest({ kind: "udp", ...target.to }));
  stream.write(Buffer.of(0xff, 0xff));
  await assert.rejects(failed, { resetCode: CloseCode.PROTOCOL });
});
