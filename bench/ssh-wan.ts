/**
 * `ssh-wan`: the output of one command between two far machines, and the input of one, 100 ms there and back, 1 Gbit/s, a
 * queue of twice what the line holds: by `alknet ssh` over QUIC, and by `ssh` to OpenSSH's server.
 *
 * OpenSSH's windows are 2 MiB, and no rate is above one of them for each round trip: 168 Mbit/s. What is above that is
 * ours having grown.
 *
 * The congestion control is pinned, to the same on both sides; `--quick` takes BBR alone. The rate is that of 6 seconds
 * after 3 of warm-up; each flow has a fresh line, on which the same packets of the sequence are lost to either.
 *
 * @module
 */

import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { openSshWan, opensshName } from "./ssh-wan-ends.ts";
import { rate } from "./ssh-wan-rate.ts";

const LINE = { roundTrip: 100, rate: 1e9 };
const SPAN = { warmUp: 3_000, measure: 6_000 };

const CASES = [
  { direction: "download", lossPpm: 0, congestion: "bbr", goal: 4 },
  { direction: "download", lossPpm: 1_000, congestion: "bbr", goal: 3 },
  { direction: "download", lossPpm: 0, congestion: "cubic", goal: 4 },
  { direction: "upload", lossPpm: 0, congestion: "bbr", goal: 4 },
] as const;

export const bench: Bench = {
  async run(options) {
    const results: Comparison[] = [];
    const cases = options.quick ? CASES.filter(({ congestion }) => congestion === "bbr") : CASES;
    for (const { direction, lossPpm, congestion, goal } of cases) {
      const isUpload = direction === "upload";
      const label = `${lossPpm / 10_000} % loss, ${congestion}${isUpload ? ", upload" : ""}`;
      options.say(label);
      let flows = 0;
      const flow = (who: "alknet" | "ssh") => async (): Promise<number> => {
        // Two flows a round: the same seed for both.
        const seed = 1 + (flows >> 1);
        flows += 1;
        await using ends = await openSshWan({ ...LINE, lossPpm, congestion, seed });
        // Waited for here: the line goes with this block.
        return await rate(ends.wan.spawnNear, ends[who], direction, SPAN);
      };
      const samples = await takeTurns(
        options.quick ? 1 : 5,
        { ours: flow("alknet"), ssh: flow("ssh") },
        options,
      );
      const against = { peerName: opensshName(), unit: "Mbit/s", goal };
      results.push(compare(`ssh-wan ${label}`, samples.ours, samples.ssh, against));
    }
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no case was run");
    return { main: { ...main, name: "ssh-wan" }, variants };
  },
};
