/**
 * What a stranger can learn of a node, and how long it lets one try.
 */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { ConnectionClosed } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import type { ProtocolHandler } from "@alknet/core/handler";
import { createIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import { FakeClock } from "@alknet/core/testing";
import { ping, pingHandler } from "@alknet/core/ping";
import type { Target } from "@alknet/core/target";
import { dialerOf, median, site, TRANSPORTS, type Transport } from "./attack.ts";
import { type Relay, serveRelay } from "./tcp-relay.ts";

const keyed: ProtocolHandler = {
  alpns: ["alknet/keyed"],
  access: "keyed",
  tls: "node",
  handle: () => new Promise<void>(() => {}),
};

/** No limit and no penalty: what they would do to hundreds of attempts is not asked here. */
const UNLIMITED = { limits: { exempt: ["127.0.0.0/8"] } };

/** Registered and not; for a key that nobody knows, and for none. */
const NAMES = ["alknet/ping", "alknet/nothing"] as const;

for (const transport of TRANSPORTS) {
  for (const who of ["a stranger's key", "no key"] as const) {
    const identity = (): NodeIdentity | undefined =>
      who === "no key" ? undefined : createIdentity();

    test(`${who} sees the same for what is served and what is not, over ${transport}`, async (t) => {
      const TRIES = 50;
      await using place = await site({ handlers: [pingHandler()], ...UNLIMITED });
      await using client = dialerOf(identity());
      const seen: Record<string, Refused[]> = { "alknet/ping": [], "alknet/nothing": [] };
      // In turn, so that whatever else this machine does falls on both.
      for (let i = 0; i < 2 * TRIES; i++) {
        const alpn = NAMES[i % 2]!;
        seen[alpn]!.push(await knock(client, place.target, alpn, transport));
      }
      const looks = NAMES.map((alpn) => new Set(seen[alpn]!.map(({ look }) => look)));
      assert.deepEqual(looks[0], looks[1]);
      assert.equal(looks[0]!.size, 1, `it is not always the same: ${[...looks[0]!].join("; ")}`);
      assert.match([...looks[0]!][0]!, /UNAVAILABLE/);
      const [served, unknown] = NAMES.map((alpn) => median(seen[alpn]!.map(({ took }) => took)));
      t.diagnostic(`served: ${served!.toFixed(2)} ms, not: ${unknown!.toFixed(2)} ms`);
      // Roughly: another turn of the network, or a lookup on disk, would show.
      const difference = Math.abs(served! - unknown!);
      assert.ok(difference < 1 || difference < served! / 2, `${served} ms, ${unknown} ms`);
      // The owner learns what it was.
      const told = place.events.flatMap((event) => (event.kind === "refused" ? event : []));
      assert.equal(told.length, 2 * TRIES);
      const reason = who === "no key" ? "no key" : "not a peer";
      assert.deepEqual(new Set(told.map((event) => event.reason)), new Set([reason]));
      assert.deepEqual(new Set(told.map(({ alpn }) => alpn)), new Set(NAMES));
    });
  }

  test(`on the wire a stranger sees the same for what is served and what is not, over ${transport}`, async (t) => {
    await using place = await site({ handlers: [pingHandler()], ...UNLIMITED });
    await using client = dialerOf(createIdentity());
    // Names of one length, which is what the packets show of them.
    const seen: Record<string, Wire[]> = { "alknet/ping": [], "alknet/pong": [] };
    for (let i = 0; i < 20; i++) {
      for (const [alpn, wires] of Object.entries(seen)) {
        await using wire = await tap(transport, place.port);
        const { fingerprint } = place.target as { fingerprint: string };
        const target = { address: `127.0.0.1:${wire.port}`, fingerprint };
        const { look } = await knock(client, target, alpn, transport);
        assert.match(look, /UNAVAILABLE/);
        wires.push({ bytes: wire.bytes, turns: wire.turns });
      }
    }
    const [served, unknown] = Object.values(seen).map((wires) => ({
      bytes: median(wires.map(({ bytes }) => bytes)),
      turns: median(wires.map(({ turns }) => turns)),
    }));
    t.diagnostic(JSON.stringify({ served, unknown }));
    assert.ok(served !== undefined && unknown !== undefined && served.bytes > 0);
    // Acknowledgements come by the clock: one more or less is 40 bytes, and a turn.
    assert.ok(Math.abs(served.bytes - unknown.bytes) <= (transport === "quic" ? 80 : 0));
    assert.ok(Math.abs(served.turns - unknown.turns) <= 1);
  });

  test(`what is not served looks so to a peer as well, and its block earns nothing, over ${transport}`, async () => {
    await using place = await site({ handlers: [pingHandler()] });
    await using client = dialerOf(place.peer);
    for (let i = 0; i < 30; i++) {
      const { look } = await knock(client, place.target, "alknet/nothing", transport);
      assert.match(look, /UNAVAILABLE/);
    }
    assert.equal(place.node.limits.penalty("127.0.0.1"), 0);
    await enters(client, place.target, transport);
  });

  test(`unknown keys are refused after a while, by block, and forgiven later, over ${transport}`, async () => {
    const clock = new FakeClock();
    await using place = await site({ handlers: [pingHandler(), keyed], limits: { clock } });
    // Over TCP the dialer comes from 127.0.0.1; there the block that is served is the one of QUIC's dials.
    await using stranger = dialerOf(createIdentity(), "127.0.0.1");
    await using neighbour = dialerOf(place.peer, "127.0.0.9");
    await using inside = dialerOf(place.peer, "127.0.0.1");

    // A second each: at fifteen they take effect.
    for (let i = 1; i <= 15; i++) {
      assert.equal(place.node.limits.penalty("127.0.0.1"), 0, `after ${i - 1} keys`);
      const { look } = await knock(stranger, place.target, "alknet/ping", transport);
      assert.match(look, /UNAVAILABLE/);
    }
    assert.equal(place.node.limits.penalty("127.0.0.1"), 15_000);
    // From now on nobody of that block gets as far as a handshake, whatever key they have.
    for (const client of [stranger, inside]) {
      const signal = AbortSignal.timeout(500);
      await assert.rejects(
        client.dial(place.target, "alknet/ping", { transports: [transport], signal }),
      );
    }
    await place.event(
      (event) =>
        event.kind === "turned away" &&
        event.transport === transport &&
        event.remoteAddress === "127.0.0.1" &&
        event.reason === "penalty",
    );
    // Its neighbours are served,
    await enters(neighbour, place.target, "quic");
    // and so is the block itself, when its time is over.
    clock.advance(15_001);
    assert.equal(place.node.limits.penalty("127.0.0.1"), 0);
    await enters(inside, place.target, transport);
  });
}

interface Refused {
  /** All that there is to be seen of it, but the time. */
  readonly look: string;
  /** Milliseconds from the dial to the end. */
  readonly took: number;
}

/** Dial, and send at once, as protocols do in which the client speaks first. */
async function knock(
  client: Dialer,
  target: Target,
  alpn: string,
  transport: Transport,
): Promise<Refused> {
  const from = performance.now();
  const stages: string[] = [];
  try {
    const connection = await client.dial(target, alpn, { transports: [transport] });
    stages.push("dialed");
    const rejected = assert.rejects(connection.accepted, (error) => {
      assert.ok(error instanceof ConnectionClosed);
      return true;
    });
    const { by, code, name, reason } = await connection.closed;
    await rejected;
    stages.push(`closed ${JSON.stringify({ by, code, name, reason })}`);
  } catch (error) {
    // The refusal may be here before the dial is done.
    if (!(error instanceof ConnectionClosed)) throw error;
    const { by, code, name, reason } = error.reason;
    stages.push("dialed", `closed ${JSON.stringify({ by, code, name, reason })}`);
  }
  return { look: stages.join(", "), took: performance.now() - from };
}

async function enters(client: Dialer, target: Target, transport: Transport): Promise<void> {
  const connection = await client.dial(target, "alknet/ping", { transports: [transport] });
  for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  await connection.close();
}

interface Wire {
  /** That the node sent. */
  readonly bytes: number;
  /** How often it was the node's turn after the client's. */
  readonly turns: number;
}

/** A relay to `to` on loopback, which counts. For one connection. */
async function tap(
  transport: Transport,
  to: number,
): Promise<Wire & AsyncDisposable & { readonly port: number }> {
  let bytes = 0;
  let turns = 0;
  let last: "node" | "client" = "client";
  const count = (from: "node" | "client", length: number): void => {
    if (from === "node") bytes += length;
    if (from === "node" && last === "client") turns++;
    last = from;
  };
  const relay = transport === "quic" ? await udpRelay(to, count) : await tcpRelay(to, count);
  return {
    ...relay,
    get bytes() {
      return bytes;
    },
    get turns() {
      return turns;
    },
  };
}

type Count = (from: "node" | "client", length: number) => void;

async function udpRelay(to: number, count: Count): Promise<Relay> {
  const socket = createSocket("udp4");
  let client = 0;
  socket.on("message", (message, { port }) => {
    if (port !== to) client = port;
    count(port === to ? "node" : "client", message.length);
    socket.send(message, port === to ? client : to, "127.0.0.1");
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    port: socket.address().port,
    async [Symbol.asyncDispose]() {
      const closed = once(socket, "close");
      socket.close();
      await closed;
    },
  };
}

async function tcpRelay(to: number, count: Count): Promise<Relay> {
  const sockets: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = net.connect({ port: to, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    sockets.push(near, far);
    for (const [from, other, name] of [
      [near, far, "client"],
      [far, near, "node"],
    ] as const) {
      from.on("data", (chunk: Buffer) => count(name, chunk.length));
      from.on("error", () => other.destroy());
      from.pipe(other);
    }
  });
  return await serveRelay(server, sockets);
}
