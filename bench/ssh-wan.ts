/**
 * `ssh-wan`: the output of one command between two far machines, 100 ms there and back, 1 Gbit/s, a queue of twice
 * what the line holds: by `alknet ssh` over QUIC, and by `ssh` from OpenSSH's server.
 *
 * The congestion control is pinned, to the same on both sides; `--quick` takes BBR alone. The rate is that of 6 seconds after 3 of warm-up; each flow
 * has a fresh line, on which the same packets of the sequence are lost to either.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { openSshWan, opensshName } from "./ssh-wan-ends.ts";
import { killAtExit, type Spawn } from "./worker.ts";

const LINE = { roundTrip: 100, rate: 1e9 };
const WARM_UP = 3_000;
const MEASURE = 6_000;

const CASES = [
  { lossPpm: 0, congestion: "bbr", goal: 4 },
  { lossPpm: 1_000, congestion: "bbr", goal: 3 },
  { lossPpm: 0, congestion: "cubic", goal: 4 },
] as const;

export const bench: Bench = {
  async run(options) {
    const results: Comparison[] = [];
    const cases = options.quick ? CASES.filter(({ congestion }) => congestion === "bbr") : CASES;
    for (const { lossPpm, congestion, goal } of cases) {
      const label = `${lossPpm / 10_000} % loss, ${congestion}`;
      options.say(label);
      let flows = 0;
      const flow = (who: "alknet" | "ssh") => async (): Promise<number> => {
        // Two flows a round: the same seed for both.
        const seed = 1 + (flows >> 1);
        flows += 1;
        await using ends = await openSshWan({ ...LINE, lossPpm, congestion, seed });
        // Waited for here: the line goes with this block.
        return await rate(ends.wan.spawnNear, [...ends[who], "cat /dev/zero"]);
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

/** Megabits in a second that a program writes to its standard output. */
async function rate(spawn: Spawn, [command, ...words]: readonly string[]): Promise<number> {
  if (command === undefined) throw new TypeError("expected a command");
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "inherit"] });
  killAtExit(child);
  const ended = new Promise((resolve) => child.once("close", resolve));
  let bytes = 0;
  child.stdout?.on("data", (data: Buffer) => (bytes += data.length));
  await sleep(WARM_UP);
  const [begin, before] = [performance.now(), bytes];
  await sleep(MEASURE);
  const megabits = ((bytes - before) * 8) / 1e6;
  const seconds = (performance.now() - begin) / 1_000;
  if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}`);
  child.kill();
  await ended;
  return megabits / seconds;
}
