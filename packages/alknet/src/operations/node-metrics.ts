/**
 * `node/metrics`: numbers for those who draw curves.
 *
 * @module
 */

import { operation } from "@alknet/call/operation";
import * as z from "zod";
import { LOOK } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";

const number = z.number();
const counted = z.record(z.string(), number);

const metrics = z.object({
  uptime: number.describe("seconds"),
  cpu: z.object({ user: number, system: number }).describe("seconds since the start"),
  memory: z
    .object({ resident: number, heapUsed: number, heapTotal: number, external: number })
    .describe("bytes"),
  eventLoop: z.object({
    utilization: number.describe("0 to 1, since the start"),
  }),
  connections: z.object({ total: number, byAlpn: counted, byTransport: counted }),
  handshakes: number.describe("under way"),
  penalized: number.describe("sources that are kept out"),
  flows: number.describe("flows of the tunnel that stand"),
  refused: number.describe("since the start"),
  peers: number.describe("known ones"),
  storeReady: z.boolean(),
  calls: z
    .object({ sessions: number, incoming: number, outgoing: number, outgoingBytes: number })
    .describe("open now, on the control socket too"),
});

export function nodeMetrics({ node, store, calls }: NodeSources) {
  return [
    operation({
      name: "node/metrics",
      type: "query",
      description: "Numbers of this node: memory, time, connections, flows, calls.",
      access: LOOK,
      input: z.strictObject({}),
      output: metrics,
      handler() {
        const { uptime, flows, peers, limits } = node.status();
        const connections = node.connections({});
        const { user, system } = process.cpuUsage();
        const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
        const sessions = calls();
        return {
          uptime,
          cpu: { user: user / 1e6, system: system / 1e6 },
          memory: { resident: rss, heapUsed, heapTotal, external },
          eventLoop: { utilization: performance.eventLoopUtilization().utilization },
          connections: {
            total: connections.length,
            byAlpn: countBy(connections, ({ alpn }) => alpn),
            byTransport: countBy(connections, ({ transport }) => transport),
          },
          handshakes: limits.pending,
          penalized: limits.penalizedCount,
          flows,
          refused: node.refusals.count,
          peers,
          storeReady: store.state.kind === "ready",
          calls: {
            sessions: sessions.length,
            incoming: sum(sessions.map(({ incoming }) => incoming)),
            outgoing: sum(sessions.map(({ outgoing }) => outgoing)),
            outgoingBytes: sum(sessions.map(({ outgoingBytes }) => outgoingBytes)),
          },
        };
      },
    }),
  ] as const;
}

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Record<string, number> {
  const groups = Map.groupBy(items, keyOf);
  return Object.fromEntries([...groups].map(([key, { length }]) => [key, length]));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
