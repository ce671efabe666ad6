/**
 * Datagrams of random bytes at line rate: peers get in, connections go on, and nothing is left of it.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { createIdentity } from "@alknet/core/identity-file";
import { ping } from "@alknet/core/ping";
import type { Flooded } from "./attack-flood.ts";
import { type AttackedNode, flood, said, startNode } from "./attacked.ts";
import { dialerOf, median } from "./attack.ts";

const MIB = 2 ** 20;
const SECONDS = 10;

test("10 s of random datagrams keep no peer out, break no connection and leave nothing behind", async (t) => {
  const peer = createIdentity();
  await using node = await startNode({ peer: peer.fingerprint, handshakeTimeout: 4_000 });
  await using client = dialerOf(peer);
  const standing = await client.dial(node.target, "alknet/ping", { transports: ["quic"] });
  const pings = ping(standing, { count: 10_000, interval: 100 });
  await pings.next();
  // The first fills caches and pools, which are kept.
  await flooded(node, 1);
  const before = await node.look();

  const waits: number[] = [];
  let answers = 0;
  const { datagrams, bytes, received } = await flooded(node, SECONDS, async () => {
    await using comer = dialerOf(peer);
    const from = performance.now();
    const connection = await comer.dial(node.target, "alknet/ping");
    for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
    waits.push(performance.now() - from);
    await connection.close();
    const { done } = await pings.next();
    assert.equal(done, false);
    answers++;
  });
  t.diagnostic(
    `${(datagrams / SECONDS / 1_000).toFixed(0)} k datagrams and ${(bytes / SECONDS / MIB).toFixed(0)} MiB a second, ` +
      `${received} bytes came back; ${waits.length} peers in after ${median(waits).toFixed(0)} ms ` +
      `(worst ${Math.max(...waits).toFixed(0)})`,
  );
  assert.ok(datagrams >= 1_000 * SECONDS, `only ${datagrams}: that was no flood`);
  assert.ok(waits.length > 0 && answers === waits.length);
  // Version Negotiation and resets, each shorter than what it answers.
  assert.ok(received <= bytes, `${received} bytes for ${bytes}`);

  const after = await node.look();
  t.diagnostic(`memory before and after, MiB: ${mib(before.rss)}, ${mib(after.rss)}`);
  assert.ok(after.heap - before.heap < 4 * MIB, `heap ${before.heap}, then ${after.heap}`);
  assert.ok(after.rss - before.rss < 32 * MIB, `${mib(before.rss)} MiB, then ${mib(after.rss)}`);
  const { pending, connections, engine } = after;
  assert.deepEqual({ pending, connections }, { pending: 0, connections: 1 });
  assert.equal(engine.handshakes, 0);
  await pings.return?.(undefined);
  standing.abort(0);
});

/** Do `meanwhile` again and again while the flood is on. */
async function flooded(
  { port }: AttackedNode,
  seconds: number,
  meanwhile?: () => Promise<void>,
): Promise<Flooded> {
  const attacker = flood({ port, seconds });
  const gone = once(attacker, "exit");
  let over = false;
  const result = said<Flooded>(attacker).finally(() => (over = true));
  while (!over) await (meanwhile?.() ?? result);
  await gone;
  return await result;
}

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}
