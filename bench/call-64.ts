/**
 * `call-64`: echoes of 200 characters, 64 in flight, beside grpc-js, tRPC and Cap'n Web.
 *
 * @module
 */

import { runCallBench } from "./call-ends.ts";
import type { Bench } from "./harness.ts";
import type { Timed } from "./worker.ts";

export const bench: Bench = {
  run: (options) => {
    const count = options.quick ? 6_400 : 64_000;
    return runCallBench(
      {
        name: "call-64",
        unit: "calls/s",
        goals: { plain: 2, quic: 1.5 },
        rounds: { quick: 7, full: 15 },
        async round(client) {
          const { seconds } = await client.ask<Timed>(`calls count=${count} parallel=64`);
          return count / seconds;
        },
      },
      options,
    );
  },
};
