/**
 * `call-open`: memory of 10,000 calls that wait, on both sides, 1,000 subscriptions beside one that is not read, and
 * how soon a handler is told that its caller has cancelled.
 *
 * @module
 */

import { OURS, startEnds } from "./call-ends.ts";
import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";

const CALLS = 10_000;
const SUBSCRIPTIONS = 1_000;
/** Bytes per call and side that we allow ourselves. */
const LIMIT = 4_096;

interface Held {
  readonly resident: number;
  readonly heap: number;
  readonly external: number;
}

export const bench: Bench = {
  async run(options) {
    using pki = await makePki();
    const memory = await memoryPerCall();
    await using ends = await startEnds("unix", pki);
    const ticks = (slow: "yes" | "no") => async (): Promise<number> => {
      const seconds = options.quick ? 1 : 3;
      const command = `ticks count=${SUBSCRIPTIONS} seconds=${seconds} slow=${slow}`;
      return (await ends.client.ask<{ p99: number }>(command)).p99;
    };
    await ticks("no")();
    const rounds = options.quick ? 10 : 15;
    const aborts = await abortDelays(options.quick ? 200 : 2_000);
    const samples = await takeTurns(rounds, { beside: ticks("yes"), alone: ticks("no") }, options);
    return {
      main: compare("call-open", [memory.client, memory.server], [LIMIT], {
        peerName: "the limit",
        unit: "bytes/call",
        better: "lower",
        goal: 1,
      }),
      variants: [
        compare(
          "call-open, p99 beside a reader that reads nothing",
          samples.beside,
          samples.alone,
          {
            peerName: "without it",
            unit: "ms",
            better: "lower",
            goal: 1 / 1.2,
          },
        ),
      ],
      facts: {
        client_bytes_per_call: memory.client,
        server_bytes_per_call: memory.server,
        ...aborts,
      },
    };

    /** Milliseconds from `abort()` at the caller to the handler's signal in the other process. */
    async function abortDelays(count: number): Promise<Record<string, number>> {
      const facts: Record<string, number> = {};
      for (const side of OURS) {
        await using both = await startEnds(side, pki);
        const command = `aborts count=${count}`;
        await both.client.ask(command);
        const { p50, p99 } = await both.client.ask<{ p50: number; p99: number }>(command);
        facts[`abort_${side}_p50_ms`] = p50;
        facts[`abort_${side}_p99_ms`] = p99;
      }
      return facts;
    }

    async function memoryPerCall(): Promise<{ client: number; server: number }> {
      await using held = await startEnds("unix", pki);
      // Compiled, and with the tables grown, before anything is counted.
      await held.client.ask("calls count=10000 parallel=100");
      const before = [await held.client.ask<Held>("stats"), await held.server.ask<Held>("stats")];
      await held.client.ask<Held>(`hold count=${CALLS}`);
      const after = [await held.client.ask<Held>("stats"), await held.server.ask<Held>("stats")];
      const [client = 0, server = 0] = before.map((one, side) =>
        Math.round((bytes(after[side]!) - bytes(one)) / CALLS),
      );
      return { client, server };
    }
  },
};

/** What is held: of the heap and beside it. What the process was given by the system also has what is free. */
function bytes({ heap, external }: Held): number {
  return heap + external;
}
