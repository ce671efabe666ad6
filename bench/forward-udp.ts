/**
 * `forward-udp`: packets of 1,200 bytes there and back through `alknet forward --udp`, beside a plain relay, which is
 * one program where ours are two, and encrypts nothing.
 *
 * How many a second with 64 on their way, and how many are lost of 10,000 a second.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { freePort } from "@alknet/core/testing-port";
import { type Bench, compare, median, takeTurns } from "./harness.ts";
import { treeCpuSeconds } from "./process-tree.ts";
import { startRust } from "./rust-peer.ts";
import { startNode, type Timed, type Worker } from "./worker.ts";

const RELAY = new URL("udp-relay.ts", import.meta.url);
const SIZE = 1_200;
const FLIGHT = 64;
/** Packets a second, when their loss is counted. */
const PACE = 10_000;

interface Echoed extends Timed {
  readonly back: number;
}

export const bench: Bench = {
  async run(options) {
    await using target = await startRust(["udp-server"]);
    await using load = await startRust(["udp-client"]);
    using homes = makeHomes(`127.0.0.1:${await freePort()}`, [target.ready]);
    await using up = await alknetUp(homes.server);
    const udp = (transport: "quic" | "tcp"): Promise<Worker> =>
      alknetForward(homes.client, target.ready, { transport, udp: true });
    await using quic = await udp("quic");
    await using tcp = await udp("tcp");
    await using relay = await startNode(RELAY, [target.ready.split(":")[1] ?? ""]);

    const seconds = options.quick ? 1 : 5;
    const way = (end: Worker, pids: readonly number[]): Way => {
      const ask = (words: string): Promise<Echoed> =>
        load.ask<Echoed>(`${words} size=${SIZE} to=${end.ready}`);
      const spent = (): number => pids.reduce((sum, pid) => sum + treeCpuSeconds(pid), 0);
      const lost: number[] = [];
      const times: number[] = [];
      return {
        lost,
        times,
        async run() {
          const before = spent();
          const fast = await ask(`flight flight=${FLIGHT} packets=${20_000 * seconds}`);
          times.push((spent() - before) / ((fast.back * SIZE) / 1e9));
          const paced = await ask(`paced rate=${PACE} packets=${PACE * seconds}`);
          lost.push(100 * (1 - paced.back / (PACE * seconds)));
          return fast.back / fast.seconds;
        },
      };
    };
    const ways = {
      quic: way(quic, [up.pid, quic.pid]),
      tcp: way(tcp, [up.pid, tcp.pid]),
      relay: way(relay, [relay.pid]),
    };
    const samples = await takeTurns(
      options.quick ? 3 : 7,
      { quic: ways.quic.run, tcp: ways.tcp.run, relay: ways.relay.run },
      options,
    );
    const against = { peerName: "a plain relay in Node", unit: "packets/s" };
    const facts: Record<string, number> = {};
    for (const [name, { lost, times }] of Object.entries(ways)) {
      facts[`${name}: % lost at ${PACE} packets/s`] = median(lost);
      facts[`${name}: s/GB each way`] = median(times);
    }
    return {
      main: compare("forward-udp", samples.quic, samples.relay, against),
      variants: [compare("forward-udp over TCP+TLS", samples.tcp, samples.relay, against)],
      facts,
    };
  },
};

/** One way to the target. */
interface Way {
  /** @returns packets a second that came back */
  readonly run: () => Promise<number>;
  /** Of each round: percent that did not come back, and processor seconds for a gigabyte there and back. */
  readonly lost: readonly number[];
  readonly times: readonly number[];
}
