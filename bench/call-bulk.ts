/**
 * `call-bulk`: items of a subscription again, of a mebibyte each.
 *
 * @module
 */

import { runCallBench } from "./call-ends.ts";
import type { Bench } from "./harness.ts";
import type { Timed } from "./worker.ts";

/** A multiple of ten, as the text is. */
const BYTES = 1_048_570;

export const bench: Bench = {
  run: (options) => {
    const count = options.quick ? 100 : 500;
    return runCallBench(
      {
        name: "call-bulk",
        unit: "MB/s",
        goals: { plain: 1.5 },
        rounds: { quick: 5, full: 11 },
        async round(client) {
          const { seconds } = await client.ask<Timed>(`bulk count=${count} bytes=${BYTES}`);
          return (count * BYTES) / 1e6 / seconds;
        },
      },
      options,
    );
  },
};
