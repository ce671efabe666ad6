/**
 * Handshakes that stall, by the thousand: a peer gets in, a transfer goes on, and nothing is left of them.
 */

import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Connection } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import { createIdentity } from "@alknet/core/identity-file";
import { ping } from "@alknet/core/ping";
import type { Target } from "@alknet/core/target";
import type { NodeHoldings, NodePlace, NodeSettings } from "./attack-node.ts";
import type { StallSettings } from "./attack-stall.ts";
import { dialerOf, median, type Transport, until } from "./attack.ts";

const MIB = 2 ** 20;

test("2,000 stalled handshakes from 50 addresses keep no peer out and slow no transfer", async (t) => {
  await using node = await startNode({ handshakeTimeout: 5_000 });
  await using client = dialerOf(peer);
  // Each from addresses that have no penalty yet.
  await attacked(t, { node, client, network: "127.0.1", transport: "quic" });
  await attacked(t, { node, client, network: "127.0.2", transport: "tcp" });
});

test("stalled handshakes leave nothing behind", async (t) => {
  await using node = await startNode({ handshakeTimeout: 2_000 });
  const quiet: NodeHoldings[] = [];
  for (const network of ["127.0.1", "127.0.2", "127.0.3"]) {
    const attackers = attack({ port: node.port, network, rate: 1_000 });
    await once(attackers, "message");
    await ended(attackers);
    await until(
      async () => (await node.count()) === 0,
      () => node.look(),
    );
    quiet.push(await node.look());
  }
  const used = quiet.map(({ rss, heap }) => ({ rss: mib(rss), heap: mib(heap) }));
  t.diagnostic(`memory after each attack, MiB: ${JSON.stringify(used)}`);
  // The first one fills caches and pools, which are kept.
  const [first, ...others] = quiet;
  const last = others.at(-1);
  assert.ok(first !== undefined && last !== undefined);
  assert.ok(last.heap - first.heap < 4 * MIB, JSON.stringify(used));
  assert.ok(last.rss - first.rss < 16 * MIB, JSON.stringify(used));
  // What each block has earned is remembered, and that is all.
  const { pending, connections, blocks } = last;
  assert.deepEqual({ pending, connections, blocks }, { pending: 0, connections: 0, blocks: 150 });
  assert.deepEqual(last.resources, first.resources);
});

/** One attack, with a transfer over `transport` and peers that come over both. */
async function attacked(
  t: TestContext,
  options: { node: AttackedNode; client: Dialer; network: string; transport: Transport },
): Promise<void> {
  const { node, client, network, transport } = options;
  const connection = await client.dial(node.target, "alknet/source", { transports: [transport] });
  const transfer = await follow(connection);

  const before = await measure(options, transfer, () => false);
  const attackers = attack({ port: node.port, network, rate: 500 });
  let standing = false;
  attackers.once("message", () => (standing = true));
  // From the first of them until a while after the last: longer than a handshake may take.
  const end = performance.now() + 6_000;
  const under = await measure(options, transfer, () => !standing || performance.now() < end);
  await ended(attackers);
  const after = await measure(options, transfer, () => false);
  connection.abort(0);

  // Nothing is left of them, sooner or later.
  await until(
    async () => (await node.look()).pending + (await node.look()).connections === 0,
    () => node.look(),
  );
  t.diagnostic(
    `${transport}: peers in after ${median(under.waits).toFixed(0)} ms (worst of ` +
      `${under.waits.length}: ${Math.max(...under.waits).toFixed(0)}); ` +
      `${before.speed.toFixed(0)} MiB/s before, ${under.speed.toFixed(0)} under attack, ` +
      `${after.speed.toFixed(0)} after; ${under.pending} pending at most`,
  );
  assert.ok(under.pending >= 500, `only ${under.pending} were pending: that was no attack`);
  assert.ok(Math.max(...under.waits) < 1_000, `a peer waited ${Math.max(...under.waits)} ms`);
  // Whatever else this machine does comes and goes: the attack is to blame only for what it took from both.
  const share = under.speed / Math.min(before.speed, after.speed);
  assert.ok(share >= 0.8, `the transfer kept ${(share * 100).toFixed(0)} % of its speed`);
}

interface Measured {
  /** MiB a second. */
  readonly speed: number;
  /** How long peers took to get in, milliseconds. */
  readonly waits: readonly number[];
  /** Handshakes at once. */
  readonly pending: number;
}

/** Ten windows of the transfer, and more `while` that is true, with a peer that gets in in each. */
async function measure(
  { node, client }: { node: AttackedNode; client: Dialer },
  transfer: Transfer,
  goOn: () => boolean,
): Promise<Measured> {
  const speeds: number[] = [];
  const waits: number[] = [];
  const pending: number[] = [];
  while (speeds.length < 10 || goOn()) {
    const comer = getIn(client, node.target, speeds.length % 2 === 0 ? "quic" : "tcp");
    const [speed, wait] = await Promise.all([transfer.speed(200), comer]);
    speeds.push(speed);
    waits.push(wait);
    pending.push(await node.count());
  }
  return { speed: median(speeds), waits, pending: Math.max(...pending) };
}

/** From the dial to the first answer, in milliseconds. */
async function getIn(client: Dialer, target: Target, transport: Transport): Promise<number> {
  const from = performance.now();
  const connection = await client.dial(target, "alknet/ping", { transports: [transport] });
  for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
  const took = performance.now() - from;
  await connection.close();
  return took;
}

interface Transfer {
  /** MiB a second, over this many milliseconds. */
  speed(milliseconds: number): Promise<number>;
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
    speed: (milliseconds) =>
      new Promise((resolve, reject) => {
        const [from, had] = [performance.now(), bytes];
        look = () => {
          if (stream.destroyed) return reject(new Error("the transfer has ended"));
          const passed = performance.now() - from;
          if (passed < milliseconds) return;
          look = () => {};
          resolve((bytes - had) / MIB / (passed / 1_000));
        };
      }),
  };
}

const peer = createIdentity();

interface AttackedNode extends AsyncDisposable {
  readonly target: Target;
  readonly port: number;
  look(): Promise<NodeHoldings>;
  /** Handshakes that are pending. */
  count(): Promise<number>;
}

async function startNode(options: { handshakeTimeout: number }): Promise<AttackedNode> {
  const settings: NodeSettings = { peer: peer.fingerprint, ...options };
  const child = start("attack-node.ts", settings);
  const [place] = (await once(child, "message")) as [NodePlace];
  const { port, fingerprint } = place;
  // One question at a time: its answer is the next message.
  let asked: Promise<unknown> = Promise.resolve();
  const ask = <Answer>(question: string): Promise<Answer> => {
    const answer = asked.then(async () => {
      child.send(question);
      const [message] = (await once(child, "message")) as [Answer];
      return message;
    });
    asked = answer;
    return answer;
  };
  return {
    port,
    target: { address: `127.0.0.1:${port}`, fingerprint },
    look: () => ask<NodeHoldings>("look"),
    count: () => ask<number>("count"),
    async [Symbol.asyncDispose]() {
      const gone = once(child, "exit");
      child.send("close");
      await gone;
    },
  };
}

/** Says "standing" once all have begun. */
function attack(settings: StallSettings): ChildProcess {
  return start("attack-stall.ts", settings);
}

async function ended(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

function start(file: string, settings: object): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return fork(path, [JSON.stringify(settings)], {
    execArgv: ["--conditions=@alknet/source", "--expose-gc"],
  });
}

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}
