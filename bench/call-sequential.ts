/**
 * `call-sequential`: the median time of an echo of 200 characters, one after another.
 *
 * @module
 */

import { runCallBench } from "./call-ends.ts";
import type { Bench } from "./harness.ts";

export const bench: Bench = {
  run: (options) => {
    const count = options.quick ? 500 : 5_000;
    return runCallBench(
      {
        name: "call-sequential",
        unit: "µs",
        better: "lower",
        goals: { plain: 1, quic: 1 },
        rounds: { quick: 7, full: 15 },
        async round(client) {
          const { p50 } = await client.ask<{ p50: number }>(`calls count=${count} parallel=1`);
          return p50 * 1_000;
        },
      },
      options,
    );
  },
};
