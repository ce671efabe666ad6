/**
 * `forward-stall`: whether connections that are forwarded over one line wait for each other's lost packets: 20 of them
 * through one `alknet forward` over QUIC, and through one `ssh -L`.
 *
 * Each brings a small message every 20 ms, over 100 ms there and back, of whose packets 0.2 % are lost. A message is
 * late that takes half a round trip longer than the fastest. Of those that were sent within the same 20 ms it is counted
 * how many connections they belong to: 1 where nobody waits for another, 20 where all wait for each.
 *
 * The goal: as many as would be late together by chance, if each connection had its losses for itself. With a share q of
 * all messages late that is `20 q / (1 - (1 - q)^20)`, the mean of a binomial distribution without its zeros: 1.05 at
 * 0.5 %. Some packets hold messages of two connections, and runs differ: 0.85 of it is met.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { type Bench, compare, median, takeTurns } from "./harness.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";
import { openWan } from "./wan.ts";
import { startNode, type Worker } from "./worker.ts";

const WORKER = new URL("stall-worker.ts", import.meta.url);
const LINE = { roundTrip: 100, rate: 1e9, lossPpm: 2_000, congestion: "bbr" } as const;
const TARGET = "127.0.0.1:5000";
const PORT = 7433;
const FLOWS = 20;

interface Heard {
  readonly messages: number;
  readonly late: number;
  /** Mean of the connections that had a late message in the same interval. */
  readonly together: number;
  /** The same, if connections were late by chance alone. */
  readonly independent: number;
}

export const bench: Bench = {
  async run(options) {
    const seconds = options.quick ? 8 : 20;
    const late = { ours: [] as number[], ssh: [] as number[] };
    const independent: number[] = [];
    let runs = 0;
    const flows = (who: "ours" | "ssh") => async (): Promise<number> => {
      // Two runs a round: the same seed for both.
      const seed = 1 + (runs >> 1);
      runs += 1;
      await using wan = await openWan({ ...LINE, seed });
      const { spawnFar, spawnNear, farAddress } = wan;
      await using _server = await startNode(WORKER, [TARGET], { spawn: spawnFar });
      await using client = await startNode(WORKER, [], { spawn: spawnNear });
      const heard = async (to: string): Promise<number> => {
        const all = await client.ask<Heard>(`listen flows=${FLOWS} seconds=${seconds} to=${to}`);
        if (all.late === 0) throw new Error("no message was late: nothing was lost");
        late[who].push((100 * all.late) / all.messages);
        if (who === "ours") independent.push(all.independent);
        return all.together;
      };
      if (who === "ssh") {
        const options = { target: TARGET, serverAddress: farAddress };
        const spawns = { spawnServer: spawnFar, spawnClient: spawnNear };
        await using ssh = await sshForward({ ...options, ...spawns });
        return await heard(ssh.address);
      }
      using homes = makeHomes(`${farAddress}:${PORT}`, [TARGET], LINE.congestion);
      await using _up = await alknetUp(homes.server, { spawn: spawnFar });
      const way = { transport: "quic", spawn: spawnNear } as const;
      await using forward: Worker = await alknetForward(homes.client, TARGET, way);
      return await heard(forward.ready);
    };
    const samples = await takeTurns(
      options.quick ? 1 : 5,
      { ours: flows("ours"), ssh: flows("ssh") },
      options,
    );
    const unit = `of ${FLOWS} connections late together`;
    const against = { unit, better: "lower" } as const;
    const chance = { peerName: "by chance", goal: 0.85, ...against };
    return {
      main: compare("forward-stall", samples.ours, samples.ssh, {
        peerName: sshPeerName(),
        ...against,
      }),
      variants: [compare("forward-stall, each for itself", samples.ours, independent, chance)],
      facts: {
        "% of messages late": median(late.ours),
        "% of messages late, ssh -L": median(late.ssh),
      },
    };
  },
};
