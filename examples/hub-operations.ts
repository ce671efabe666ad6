/**
 * What the hub's example can do: a worker renders frames, and the hub shares them out among its workers.
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import { operation } from "@alknet/call/operation";
import { createRegistry } from "@alknet/call/registry";
import * as z from "zod";

const rendered = z.object({ frame: z.number(), by: z.string(), for: z.string().optional() });

/** Operations of a worker called `name`. */
export function worker(name: string) {
  const render = operation({
    name: "frames/render",
    type: "query",
    input: z.object({ frame: z.number() }),
    output: rendered,
    // The caller is the hub, which is who was let in; for whom it calls is its word, and good for a log.
    handler: ({ frame }, { forwardedFor }) => ({ frame, by: name, for: forwardedFor?.id }),
  });
  const progress = operation({
    name: "frames/progress",
    type: "subscription",
    input: z.object({ frame: z.number() }),
    output: z.number(),
    async *handler(_, { signal }) {
      for (let percent = 0; percent <= 100; percent += 25) {
        yield percent;
        await setTimeout(5, undefined, { signal });
      }
    },
  });
  return createRegistry([render, progress]);
}

export type Worker = ReturnType<typeof worker>;

const renderAll = operation({
  name: "hub/render",
  type: "query",
  description: "Render frames, by turns on every worker.",
  input: z.object({ frames: z.number().int().min(1).max(100) }),
  output: z.array(rendered),
  // The handler's own rights: this operation and no other, whatever its caller may do besides.
  composes: { operations: ["frames/render"] },
  async handler({ frames }, { env }) {
    const workers = env.peerIds();
    const numbers = Array.from({ length: frames }, (_, frame) => frame);
    return await Promise.all(
      numbers.map(async (frame) => {
        const turn = workers[frame % workers.length] ?? "";
        return rendered.parse(await env.invokePeer(turn, "frames/render", { frame }));
      }),
    );
  },
});

/** Operations of the hub itself. */
export const hub = createRegistry([renderAll]);

export type Hub = typeof hub;
