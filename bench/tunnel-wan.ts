/**
 * `tunnel-wan`: one forwarded flow between two far machines: 100 ms there and back, 1 Gbit/s, a queue of
 * twice what the line holds, all offloads off. With `ssh -L` beside it in the same minutes.
 *
 * The rate is that of 15 seconds after 5 of warm-up; `--quick` takes 4 after 3, and one case of the two
 * with a goal at a time. TCP's congestion control is pinned, as the machine's own default may be BBR.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { startRust } from "./rust-peer.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";
import { type Congestion, openWan } from "./wan.ts";
import type { Worker } from "./worker.ts";

const ROUND_TRIP = 100;
const RATE = 1e9;
const PORT = 7433;
const TARGET = "127.0.0.1:5000";

interface Case {
  lossPpm: number;
  /** Of `ssh`'s TCP; ours is Cubic. */
  congestion: Congestion;
  goal?: number | undefined;
}

const CASES: readonly Case[] = [
  { lossPpm: 0, congestion: "cubic", goal: 4 },
  { lossPpm: 1_000, congestion: "cubic", goal: 1 },
  { lossPpm: 0, congestion: "bbr" },
  { lossPpm: 1_000, congestion: "bbr" },
];

interface Rate {
  seconds: number;
  bytes: number;
}

export const bench: Bench = {
  async run(options) {
    const cases = options.quick ? CASES.filter(({ goal }) => goal !== undefined) : CASES;
    const results: Comparison[] = [];
    const facts: Record<string, number> = {};
    for (const each of cases) {
      const label = `${each.lossPpm / 10_000} % loss, ${each.congestion}`;
      options.say(label);
      await using wan = await openWan({ ...each, roundTrip: ROUND_TRIP, rate: RATE });
      await using _source = await startRust(["tcp-server", `listen=${TARGET}`], {
        spawn: wan.spawnFar,
      });
      await using load = await startRust(["tcp-client"], { spawn: wan.spawnNear });
      using homes = makeHomes(`${wan.farAddress}:${PORT}`, [TARGET]);
      await using _up = await alknetUp(homes.server, { spawn: wan.spawnFar });
      await using forward = await alknetForward(homes.client, TARGET, {
        transport: "quic",
        spawn: wan.spawnNear,
      });
      await using ssh = await sshForward({
        target: TARGET,
        serverAddress: wan.farAddress,
        spawnServer: wan.spawnFar,
        spawnClient: wan.spawnNear,
      });

      const [warmUp, measure] = options.quick ? [3, 4] : [5, 15];
      const rate = (worker: Worker, to: string) => async (): Promise<number> => {
        const { bytes, seconds } = await worker.ask<Rate>(
          `rate warmup=${warmUp} measure=${measure} to=${to}`,
        );
        return (bytes * 8) / 1e6 / seconds;
      };
      const samples = await takeTurns(
        1,
        { ours: rate(load, forward.ready), ssh: rate(load, ssh.address) },
        options,
      );
      results.push(
        compare(`tunnel-wan ${label}`, samples.ours, samples.ssh, {
          peerName: sshPeerName(),
          unit: "Mbit/s",
          goal: each.goal,
        }),
      );
      const { ba } = await wan.link.report();
      facts[`${label}: packets lost on the line`] = ba.lost;
      facts[`${label}: packets dropped by its queue`] = ba.dropped;
      facts[`${label}: packets dropped by the program`] = ba.overflow + ba.refused;
    }
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no case was run");
    return { main: { ...main, name: "tunnel-wan" }, variants, facts };
  },
};
