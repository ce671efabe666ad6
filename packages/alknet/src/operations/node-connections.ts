/**
 * `node/connections/list`, `node/connections/close`: who is connected now.
 *
 * @module
 */

import { operation } from "@alknet/call/operation";
import * as z from "zod";
import { connectionSelection, connectionStatus } from "./connection-status.ts";
import { list } from "./lists.ts";
import { CHANGE, LOOK } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";

export function nodeConnections({ node }: NodeSources) {
  return [
    operation({
      name: "node/connections/list",
      type: "query",
      description: "Connections that services of this node have now, oldest first.",
      access: LOOK,
      input: connectionSelection,
      output: z.object({ connections: list(connectionStatus) }),
      handler: (wanted) => ({ connections: node.connections(wanted) }),
    }),
    operation({
      name: "node/connections/close",
      type: "mutation",
      description: "Close connections in order: of this id, of this peer, for this service.",
      access: CHANGE,
      // All of them is a thing to say, and not to leave out.
      input: connectionSelection.refine(
        (wanted) => Object.values(wanted).some((it) => it !== undefined),
        {
          message: "expected id, peer or alpn",
        },
      ),
      output: z.object({ closed: z.number().describe("how many it has begun to close") }),
      handler: (wanted) => ({ closed: node.closeConnections(wanted) }),
    }),
  ] as const;
}
