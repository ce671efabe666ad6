/**
 * Thousands of handshakes that stalled are gone: so is what they took.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createIdentity } from "@alknet/core/identity-file";
import type { NodeHoldings } from "./attack-node.ts";
import { attack, ended, said, startNode } from "./attacked.ts";
import { until } from "./attack.ts";

const MIB = 2 ** 20;

test("handshakes that stalled leave nothing behind", async (t) => {
  await using node = await startNode({
    peer: createIdentity().fingerprint,
    handshakeTimeout: 2_000,
  });
  const quiet: NodeHoldings[] = [];
  for (const network of ["127.0.1", "127.0.2", "127.0.3", "127.0.4"]) {
    const attackers = attack({ port: node.port, network, rate: 1_000 });
    await said(attackers);
    await ended(attackers);
    await until(
      async () => (await node.count()).pending === 0,
      () => node.look(),
    );
    quiet.push(await node.look());
  }
  const used = quiet.map(({ rss, heap }) => ({ rss: mib(rss), heap: mib(heap) }));
  t.diagnostic(`memory after each attack, MiB: ${JSON.stringify(used)}`);
  // The first fills caches and pools, which are kept.
  const [, second, , last] = quiet;
  assert.ok(second !== undefined && last !== undefined);
  assert.ok(last.heap - second.heap < 4 * MIB, JSON.stringify(used));
  assert.ok(last.rss - second.rss < 16 * MIB, JSON.stringify(used));
  // What each block has earned is remembered, and that is all.
  const { pending, connections, blocks } = last;
  assert.deepEqual({ pending, connections, blocks }, { pending: 0, connections: 0, blocks: 200 });
  assert.deepEqual(last.resources, second.resources);
});

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}
