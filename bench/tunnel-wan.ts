/**
 * `tunnel-wan`: one forwarded flow between two far machines: 100 ms there and back, 1 Gbit/s, a queue of
 * twice what the line holds, all offloads off. With `ssh -L` beside it in the same minutes.
 *
 * The rate is that of 15 seconds after 5 of warm-up, with loss of 30; `--quick` takes less, and only the cases
 * with BBR. The congestion control is pinned, to the same on both sides: otherwise only its choice is compared.
 * Each flow has a fresh line, and both sides the same seed: the same packets of the sequence are lost to either.
 * At 0.1 % some thirty are lost in a run, and which ones decides much: the full run takes seven seeds, `--quick`
 * only one.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { startRust } from "./rust-peer.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";
import { openWan, type Wan, type WanOptions } from "./wan.ts";
import type { Worker } from "./worker.ts";

const ROUND_TRIP = 100;
const RATE = 1e9;
const PORT = 7433;
const TARGET = "127.0.0.1:5000";

interface Case {
  lossPpm: number;
  /** Of `ssh`'s TCP, and of our QUIC. */
  congestion: "cubic" | "bbr";
  goal: number;
}

const CASES: readonly Case[] = [
  { lossPpm: 0, congestion: "bbr", goal: 4 },
  { lossPpm: 1_000, congestion: "bbr", goal: 3 },
  { lossPpm: 0, congestion: "cubic", goal: 4 },
  { lossPpm: 1_000, congestion: "cubic", goal: 1 },
];

interface Rate {
  seconds: number;
  bytes: number;
}

export const bench: Bench = {
  async run(options) {
    const cases = options.quick ? CASES.filter(({ congestion }) => congestion === "bbr") : CASES;
    const results: Comparison[] = [];
    const facts: Record<string, number> = {};
    for (const each of cases) {
      const label = `${each.lossPpm / 10_000} % loss, ${each.congestion}`;
      options.say(label);
      const lossy = each.lossPpm > 0;
      const [warmUp, measure] = options.quick ? [3, lossy ? 6 : 3] : [5, lossy ? 30 : 15];
      let seed = 0;
      const flow = (who: "alknet" | "ssh") => async (): Promise<number> => {
        // Two flows a round: the same seed for both.
        const line = { ...each, roundTrip: ROUND_TRIP, rate: RATE, seed: 1 + (seed >> 1) };
        seed += 1;
        await using ends = await openEnds(line, who);
        const { bytes, seconds } = await ends.load.ask<Rate>(
          `rate warmup=${warmUp} measure=${measure} to=${ends.forwarded}`,
        );
        const { ba } = await ends.wan.link.report();
        lost[who] += ba.lost + ba.dropped;
        if (ba.overflow + ba.refused > 0) throw new Error(`the line failed: ${JSON.stringify(ba)}`);
        return (bytes * 8) / 1e6 / seconds;
      };
      const lost = { alknet: 0, ssh: 0 };
      const samples = await takeTurns(
        options.quick ? 1 : lossy ? 7 : 2,
        { ours: flow("alknet"), ssh: flow("ssh") },
        options,
      );
      results.push(
        compare(`tunnel-wan ${label}`, samples.ours, samples.ssh, {
          peerName: sshPeerName(),
          unit: "Mbit/s",
          goal: each.goal,
        }),
      );
      facts[`${label}: packets lost to us`] = lost.alknet;
      facts[`${label}: packets lost to ssh`] = lost.ssh;
    }
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no case was run");
    return { main: { ...main, name: "tunnel-wan" }, variants, facts };
  },
};

interface Ends extends AsyncDisposable {
  wan: Wan;
  load: Worker;
  /** The near end of the forwarded port. */
  forwarded: string;
}

/** Both machines, and a port forwarded from the near to the far one. */
async function openEnds(line: WanOptions & Case, who: "alknet" | "ssh"): Promise<Ends> {
  await using made = new AsyncDisposableStack();
  const wan = made.use(await openWan(line));
  const { spawnFar, spawnNear, farAddress } = wan;
  made.use(await startRust(["tcp-server", `listen=${TARGET}`], { spawn: spawnFar }));
  const load = made.use(await startRust(["tcp-client"], { spawn: spawnNear }));
  let forwarded: string;
  if (who === "ssh") {
    const options = { target: TARGET, serverAddress: farAddress };
    const ssh = await sshForward({ ...options, spawnServer: spawnFar, spawnClient: spawnNear });
    forwarded = made.use(ssh).address;
  } else {
    const homes = made.use(makeHomes(`${farAddress}:${PORT}`, [TARGET], line.congestion));
    made.use(await alknetUp(homes.server, { spawn: spawnFar }));
    const options = { transport: "quic", spawn: spawnNear } as const;
    forwarded = made.use(await alknetForward(homes.client, TARGET, options)).ready;
  }
  const owned = made.move();
  return { wan, load, forwarded, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
