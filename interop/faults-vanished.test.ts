/**
 * Peers that are killed in whatever they are doing: the node lets go of all that they had.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createIdentity } from "@alknet/core/identity-file";
import type { NodeHoldings } from "./attack-node.ts";
import { ended, said, startNode, vanishing } from "./attacked.ts";
import { until } from "./attack.ts";

const MIB = 2 ** 20;
const ROUNDS = 4;
const CONNECTIONS = 300;

test("peers that vanish leave no connection, handle or memory in the node", async (t) => {
  const peer = createIdentity();
  await using node = await startNode({
    peer: peer.fingerprint,
    handshakeTimeout: 4_000,
    idleTimeout: 2_000,
    // Who vanishes in a handshake is penalised, and here all come from one address.
    exempt: ["127.0.0.1"],
  });
  const key = Buffer.from(peer.privateKeyDer).toString("base64");
  const fresh = await node.look();
  const quiet: NodeHoldings[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const peers = vanishing({ ...node.target, key, connections: CONNECTIONS });
    await said(peers);
    const { connections, events } = await node.look();
    // On a slow machine the first of them, those without a stream, have come to the end of their idle time.
    const opened = events["opened"] ?? 0;
    assert.ok(opened >= CONNECTIONS * (round + 1), `only ${opened} were there`);
    assert.ok(connections >= CONNECTIONS / 2, `only ${connections} of ${CONNECTIONS} are there`);
    await ended(peers);
    await until(
      async () => {
        const { pending, connections } = await node.count();
        return pending + connections === 0;
      },
      () => node.look(),
    );
    quiet.push(await node.look());
  }
  const used = quiet.map(({ rss, heap }) => ({ rss: mib(rss), heap: mib(heap) }));
  t.diagnostic(`memory after each ${CONNECTIONS}, MiB: ${JSON.stringify(used)}`);
  // The first fills caches and pools, which are kept.
  const [, second] = quiet;
  const last = quiet.at(-1);
  assert.ok(second !== undefined && last !== undefined);
  assert.deepEqual(last.resources, fresh.resources);
  assert.ok(last.heap - second.heap < 4 * MIB, JSON.stringify(used));
  assert.ok(last.rss - second.rss < 40 * MIB, JSON.stringify(used));
});

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}
