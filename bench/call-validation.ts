/**
 * `call-validation`: what it costs that inputs and outputs are checked, on the work of `call-64`.
 *
 * @module
 */

import { startEnds } from "./call-ends.ts";
import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import type { Timed } from "./worker.ts";

export const bench: Bench = {
  async run(options) {
    using pki = await makePki();
    await using checked = await startEnds("unix", pki);
    await using unchecked = await startEnds("unix", pki, ["validate=none"]);
    const count = options.quick ? 32_000 : 64_000;
    const rate =
      ({ client }: typeof checked) =>
      async (): Promise<number> => {
        const { seconds } = await client.ask<Timed>(`calls count=${count} parallel=64`);
        return count / seconds;
      };
    const ends = { checked: rate(checked), unchecked: rate(unchecked) };
    await ends.checked();
    await ends.unchecked();
    const samples = await takeTurns(options.quick ? 15 : 41, ends, options);
    const against = { peerName: "without checks", unit: "calls/s", goal: 0.85 };
    return { main: compare("call-validation", samples.checked, samples.unchecked, against) };
  },
};
