/**
 * `node/connections/list`, `node/connections/close`: who is connected now.
 *
 * @module
 */

import { operation } from "@alknet/call/operation";
import * as z from "zod";
import { list } from "./lists.ts";
import { CHANGE, LOOK } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";

export const connectionStatus = z.object({
  /** Names it as long as the node runs. */
  id: z.number(),
  alpn: z.string(),
  transport: z.string(),
  peer: z.string().optional(),
  remoteAddress: z.string().optional().describe("address:port"),
  seconds: z.number().describe("since it was opened"),
});

export type ConnectionStatus = z.infer<typeof connectionStatus>;

/** Which connections are meant: those that all of it holds for. */
const selection = z.strictObject({
  id: z.number().int().optional(),
  peer: z.string().optional(),
  alpn: z.string().optional(),
});

export type ConnectionSelection = z.infer<typeof selection>;

export function nodeConnections({ node }: NodeSources) {
  return [
    operation({
      name: "node/connections/list",
      type: "query",
      description: "Connections that services of this node have now, oldest first.",
      access: LOOK,
      input: selection,
      output: z.object({ connections: list(connectionStatus) }),
      handler: (wanted) => ({ connections: node.connections(wanted) }),
    }),
    operation({
      name: "node/connections/close",
      type: "mutation",
      description: "Close connections in order: of this id, of this peer, for this service.",
      access: CHANGE,
      // All of them is a thing to say, and not to leave out.
      input: selection.refine((wanted) => Object.values(wanted).some((it) => it !== undefined), {
        message: "expected id, peer or alpn",
      }),
      output: z.object({ closed: z.number().describe("how many it has begun to close") }),
      handler: (wanted) => ({ closed: node.closeConnections(wanted) }),
    }),
  ] as const;
}
