/**
 * Handshakes that stall, by the thousand: a peer gets in, and a transfer goes on.
 */

import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { test, type TestContext } from "node:test";
import type { Connection } from "@alknet/core/connection";
import { createIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import { ping } from "@alknet/core/ping";
import type { Target } from "@alknet/core/target";
import { type AttackedNode, attack, ended, startNode } from "./attacked.ts";
import { dialerOf, median, type Transport, until } from "./attack.ts";

const MIB = 2 ** 20;

test("2,000 stalled handshakes from 50 addresses keep no peer out and slow no transfer", async (t) => {
  const peer = createIdentity();
  await using node = await startNode({ peer: peer.fingerprint, handshakeTimeout: 8_000 });
  // Each from addresses that have no penalty yet.
  await attacked(t, { node, peer, network: "127.0.1", transport: "quic" });
  await attacked(t, { node, peer, network: "127.0.2", transport: "tcp" });
});

/** One attack, with a transfer over `transport` and peers that come over both. */
async function attacked(
  t: TestContext,
  options: { node: AttackedNode; peer: NodeIdentity; network: string; transport: Transport },
): Promise<void> {
  const { node, peer, network, transport } = options;
  await using client = dialerOf(peer);
  const connection = await client.dial(node.target, "alknet/source", { transports: [transport] });
  const transfer = await follow(connection);

  const before = await measure(options, transfer, () => false);
  const attackers = attack({ port: node.port, network, rate: 400 });
  let standing = false;
  attackers.once("message", () => (standing = true));
  // From the first of them until a while after the last: longer than a handshake may take.
  const end = performance.now() + 6_000;
  const under = await measure(options, transfer, () => !standing || performance.now() < end);
  await ended(attackers);
  const after = await measure(options, transfer, () => false);
  connection.abort(0);

  await until(
    async () => {
      const { pending, connections } = await node.count();
      return pending + connections === 0;
    },
    () => node.look(),
  );
  // What the node's processor does for the transfer in a second of its time, when there is no attack; and what
  // the attack takes of each second. (Of the clock alone not much can be told: other work of this machine comes
  // and goes, and the attackers' own is a part of it. It makes the processor slower, too: the lower of the two.)
  const worth = Math.min(before.bytes / before.processor, after.bytes / after.processor);
  const taken = (under.processor - under.bytes / worth) / under.time;
  t.diagnostic(
    `${transport}: peers in after ${median(under.waits).toFixed(0)} ms (worst of ` +
      `${under.waits.length}: ${Math.max(...under.waits).toFixed(0)}; over ${JSON.stringify(under.over)}); ${speedOf(before)} MiB/s before, ` +
      `${speedOf(under)} under attack, ${speedOf(after)} after; the attack takes ` +
      `${(taken * 100).toFixed(0)} % of a processor; ${under.pending} pending at most`,
  );
  assert.ok(under.pending >= 400, `only ${under.pending} were pending: that was no attack`);
  assert.ok(Math.max(...under.waits) < 1_000, `a peer waited ${Math.max(...under.waits)} ms`);
  assert.ok(
    taken <= 0.2,
    `the transfer keeps only ${(100 - taken * 100).toFixed(0)} % of its speed`,
  );
  const share = speedOf(under) / Math.min(speedOf(before), speedOf(after));
  assert.ok(share >= 0.4, `the transfer kept ${(share * 100).toFixed(0)} % of its speed`);
}

interface Measured {
  /** Of the transfer. */
  readonly bytes: number;
  /** Milliseconds. */
  readonly time: number;
  /** Of the node's processor, milliseconds. */
  readonly processor: number;
  /** How long peers took to get in, milliseconds. */
  readonly waits: readonly number[];
  /** How many of them came over which transport. */
  readonly over: Readonly<Record<Transport, number>>;
  /** Most handshakes at once. */
  readonly pending: number;
}

/** MiB a second. */
function speedOf({ bytes, time }: Measured): number {
  return Math.round(bytes / MIB / (time / 1_000));
}

/** For two seconds, and on `while` that is true, with a peer that gets in every 200 ms. */
async function measure(
  { node, peer }: { node: AttackedNode; peer: NodeIdentity },
  transfer: Transfer,
  goOn: () => boolean,
): Promise<Measured> {
  const waits: number[] = [];
  const over = { quic: 0, tcp: 0 };
  let pending = 0;
  let bytes = 0;
  const from = performance.now();
  const { processor } = await node.count();
  for (let i = 0; i < 10 || goOn(); i++) {
    const comer = getIn(peer, node.target);
    const [moved, { wait, transport }] = await Promise.all([transfer.move(200), comer]);
    bytes += moved;
    waits.push(wait);
    over[transport]++;
    pending = Math.max(pending, (await node.count()).pending);
  }
  const used = (await node.count()).processor - processor;
  return { bytes, time: performance.now() - from, processor: used, waits, over, pending };
}

/** A peer that comes from nowhere, as peers do: over what gets through first. Milliseconds to the first answer. */
async function getIn(
  peer: NodeIdentity,
  target: Target,
): Promise<{ wait: number; transport: Transport }> {
  await using client = dialerOf(peer);
  const from = performance.now();
  const connection = await client.dial(target, "alknet/ping");
  for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  const wait = performance.now() - from;
  await connection.close();
  return { wait, transport: connection.transport === "quic" ? "quic" : "tcp" };
}

interface Transfer {
  /** Bytes that came until then since the last call, when this many milliseconds have passed. */
  move(milliseconds: number): Promise<number>;
}

async function follow(connection: Connection): Promise<Transfer> {
  const stream: Duplex = await connection.open();
  let bytes = 0;
  let look = (): void => {};
  stream.on("error", () => {});
  stream.once("close", () => look());
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    look();
  });
  stream.write("?");
  return {
    move: (milliseconds) =>
      new Promise((resolve, reject) => {
        const from = performance.now();
        look = () => {
          if (stream.destroyed) return reject(new Error("the transfer has ended"));
          if (performance.now() - from < milliseconds) return;
          look = () => {};
          resolve(bytes);
          bytes = 0;
        };
      }),
  };
}
