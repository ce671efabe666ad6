/**
 * The operations by which a node is operated.
 *
 * @module
 */

import { createRegistry } from "@alknet/call/registry";
import { nodeConfig } from "./node-config.ts";
import { nodeConnections } from "./node-connections.ts";
import { nodeEffect } from "./node-effect.ts";
import { nodeLog } from "./node-log.ts";
import { nodeMetrics } from "./node-metrics.ts";
import { nodePeers } from "./node-peers.ts";
import type { NodeSources } from "./node-sources.ts";
import { nodeStatus } from "./node-status.ts";

export function nodeOperations(sources: NodeSources) {
  return createRegistry([
    ...nodeStatus(sources),
    ...nodeConnections(sources),
    ...nodePeers(sources),
    ...nodeLog(sources),
    ...nodeMetrics(sources),
    ...nodeConfig(sources),
    ...nodeEffect(sources),
  ]);
}

/** For `client<NodeOperations>(…)`. */
export type NodeOperations = ReturnType<typeof nodeOperations>;
