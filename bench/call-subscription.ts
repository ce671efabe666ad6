/**
 * `call-subscription`: items of 200 characters of one subscription, taken one by one.
 *
 * @module
 */

import { runCallBench } from "./call-ends.ts";
import type { Bench } from "./harness.ts";
import type { Timed } from "./worker.ts";

export const bench: Bench = {
  run: (options) => {
    const count = options.quick ? 30_000 : 200_000;
    return runCallBench(
      {
        name: "call-subscription",
        unit: "items/s",
        goals: { plain: 2 },
        rounds: { quick: 7, full: 15 },
        async round(client) {
          const { seconds } = await client.ask<Timed>(`items count=${count}`);
          return count / seconds;
        },
      },
      options,
    );
  },
};
