/**
 * A connection of a node as its operations tell it, and how one is meant.
 *
 * @module
 */

import * as z from "zod";

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
export const connectionSelection = z.strictObject({
  id: z.number().int().optional(),
  peer: z.string().optional(),
  alpn: z.string().optional(),
});

export type ConnectionSelection = z.infer<typeof connectionSelection>;
