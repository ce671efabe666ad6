/**
 * Peers that are killed in whatever they are doing: the node lets go of all that they had.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createIdentity } from "@alknet/core/identity-file";
import { ping } from "@alknet/core/ping";
import type { NodeHoldings } from "./attack-node.ts";
import type { PeersThere } from "./attack-peer.ts";
import { ended, said, startNode, vanishing } from "./attacked.ts";
import { dialerOf, until } from "./attack.ts";

const MIB = 2 ** 20;
const CONNECTIONS = 10_000;
/** Of one process, which is killed with them. */
const TOGETHER = 500;
/** Processes at once: one begins while the other connects. */
const AT_ONCE = 2;
/** Milliseconds; it takes 70 s on two cores that have nothing else to do. */
const PATIENCE = 600_000;
/** So often all is let go, and looked at. */
const LOOKS = 4;

test(
  "10,000 connections whose peers are killed leave no connection, stream, handle or memory in the node",
  { timeout: PATIENCE },
  async (t) => {
    const peer = createIdentity();
    await using node = await startNode({
      peer: peer.fingerprint,
      handshakeTimeout: 4_000,
      idleTimeout: 2_000,
      // Who vanishes in a handshake is penalised, and here all come from one address, with one key.
      exempt: ["127.0.0.1"],
      caps: { pending: 8_192, retry: 8_192, connectionsPerPeer: 8_192 },
    });
    const { port, target } = node;
    const key = Buffer.from(peer.privateKeyDer).toString("base64");
    const fresh = await node.look();
    t.diagnostic(`before: ${figures(fresh)}`);
    const begun = { established: 0, handshaking: 0 };
    /** Most that were there at a time. */
    const most = { connections: 0, pending: 0, streams: 0 };

    const vanish = async (): Promise<void> => {
      const { fingerprint } = target;
      const peers = vanishing({ port, fingerprint, key, connections: TOGETHER });
      const { established, handshaking } = await said<PeersThere>(peers);
      begun.established += established;
      begun.handshaking += handshaking;
      const { connections, pending, engine } = await node.look();
      most.connections = Math.max(most.connections, connections);
      most.pending = Math.max(most.pending, pending);
      most.streams = Math.max(most.streams, engine.streams);
      await ended(peers);
    };

    const quiet: NodeHoldings[] = [];
    for (let look = 1; look <= LOOKS; look++) {
      const worker = async (): Promise<void> => {
        while (started * TOGETHER < (CONNECTIONS * look) / LOOKS) {
          started++;
          await vanish();
        }
      };
      let started = ((look - 1) * CONNECTIONS) / LOOKS / TOGETHER;
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      await until(
        async () => {
          const { pending, connections } = await node.count();
          return pending + connections === 0;
        },
        () => node.look(),
      );
      // Of what has ended the engine keeps a while what answers late packets (RFC 9000 §10.2).
      await until(
        async () => (await node.look()).engine.connections === 0,
        () => node.look(),
      );
      const now = await node.look();
      t.diagnostic(`after ${started * TOGETHER}: ${figures(now)}`);
      quiet.push(now);
    }

    t.diagnostic(`${JSON.stringify({ begun, most, events: quiet.at(-1)?.events })}`);
    assert.equal(begun.established + begun.handshaking, CONNECTIONS);
    const last = quiet.at(-1);
    // The first fills caches and pools, which are kept.
    const [first] = quiet;
    assert.ok(first !== undefined && last !== undefined);
    assert.ok((last.events["opened"] ?? 0) >= begun.established);
    const failed = Object.entries(last.events).flatMap(([name, count]) =>
      name.startsWith("handshake failed") ? count : [],
    );
    // A datagram may be lost.
    assert.ok(failed.reduce((sum, count) => sum + count, 0) >= 0.95 * begun.handshaking);
    // Of most rounds fewer, on a slow machine: those without a stream come to the end of their idle time.
    assert.ok(most.connections >= TOGETHER / 4, `never more than ${most.connections} were there`);
    assert.ok(most.pending >= TOGETHER / 16, `never more than ${most.pending} were pending`);
    const nothing = { connections: 0, handshakes: 0, streams: 0 };
    assert.deepEqual(last.engine, nothing);
    assert.deepEqual(last.resources, fresh.resources);
    assert.ok(last.heap - first.heap < 4 * MIB, `${figures(first)}; ${figures(last)}`);
    assert.ok(last.rss - first.rss < 40 * MIB, `${figures(first)}; ${figures(last)}`);

    await using client = dialerOf(peer);
    for (const transport of ["quic", "tcp"] as const) {
      const connection = await client.dial(target, "alknet/ping", { transports: [transport] });
      for await (const { number } of ping(connection, { count: 1 })) assert.equal(number, 0);
      await connection.close();
    }
  },
);

function figures({ pending, connections, engine, resources, heap, rss }: NodeHoldings): string {
  const { streams } = engine;
  const memory = `heap ${(heap / MIB).toFixed(1)} MiB, resident ${(rss / MIB).toFixed(0)} MiB`;
  return `${connections} connections, ${pending} pending, ${streams} streams, ${resources.length} handles, ${memory}`;
}
