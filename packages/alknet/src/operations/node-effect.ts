/**
 * `node/effect`: what a change of the store, made by whomever, has ended in this node.
 *
 * @module
 */

import { operation } from "@alknet/call/operation";
import * as z from "zod";
import { CHANGE } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";

export const cut = z.object({
  connections: z.number().describe("connections that it has closed"),
  grants: z.number().describe("rights in use that it has ended, on connections that go on"),
});

/** How long a change may take to get here, in milliseconds: one of another process is seen in some. */
const PATIENCE = 4_000;

export function nodeEffect({ store }: NodeSources) {
  return [
    operation({
      name: "node/effect",
      type: "query",
      description: "What a change of the store has ended in this node, once it has seen it.",
      access: CHANGE,
      input: z.strictObject({ change: z.number().int().describe("number of the change") }),
      output: cut,
      errors: { CHANGE_NOT_SEEN: { description: "the node has not seen this change" } },
      async handler({ change }, context) {
        const late = AbortSignal.timeout(PATIENCE);
        const signal = AbortSignal.any([context.signal, late]);
        try {
          return await store.effectOf(change, { signal });
        } catch (error) {
          throw late.aborted ? context.error("CHANGE_NOT_SEEN") : error;
        }
      },
    }),
  ] as const;
}
