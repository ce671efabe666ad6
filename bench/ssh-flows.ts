/**
 * `ssh-flows`: memory of our server for each of 1,000 connections that stock `ssh -L` holds open through it.
 *
 * Each has carried 64 KiB both ways. Held is what is left of heap and buffers after garbage was collected; resident
 * is what the system has given to the process.
 *
 * @module
 */

import { type Bench, compare } from "./harness.ts";
import { openConnections, startEcho } from "./open-connections.ts";
import { ourServer, sshForward } from "./ssh-peer.ts";
import type { Worker } from "./worker.ts";

const FLOWS = 1_000;
/** Bytes for each flow that we allow ourselves. */
const LIMIT = 64 * 1024;

interface Stats {
  readonly held: number;
  readonly resident: number;
  readonly flows: number;
}

export const bench: Bench = {
  async run({ say }) {
    using target = await startEcho();
    let worker: Worker | undefined;
    await using ssh = await sshForward({
      target: target.address,
      async startServer(options) {
        const server = await ourServer(options);
        ({ worker } = server);
        return server;
      },
    });
    const stats = async (): Promise<Stats> => {
      if (worker === undefined) throw new Error("no server was started");
      return worker.ask<Stats>("stats");
    };
    // Compiled, and with the tables grown, before anything is counted.
    using _first = await openConnections(ssh.address, 20);
    const before = await stats();
    using _flows = await openConnections(ssh.address, FLOWS);
    const after = await stats();
    say(`${after.flows} flows`);
    const perFlow = (name: "held" | "resident"): number =>
      Math.round((after[name] - before[name]) / FLOWS);
    return {
      main: compare("ssh-flows", [perFlow("held")], [LIMIT], {
        ...{ peerName: "the limit", unit: "bytes/flow", better: "lower", goal: 1 },
      }),
      facts: { resident_bytes_per_flow: perFlow("resident"), flows: after.flows },
    };
  },
};
