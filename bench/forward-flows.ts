/**
 * `forward-flows`: memory for each of 1,000 connections that are open through `alknet forward`, of the node and of
 * `forward`: what is resident once garbage has been collected, in C too. With `ssh -L` and sshd beside them, as they are.
 *
 * Each has carried 64 KiB both ways.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { freePort } from "@alknet/core/testing-port";
import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { type Bench, compare, type Comparison } from "./harness.ts";
import type { Memory } from "./memory-probe.ts";
import { openConnections, startEcho } from "./open-connections.ts";
import { treeResidentBytes } from "./process-tree.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";
import type { Spawn, Worker } from "./worker.ts";

const FLOWS = 1_000;
/** Connections before these, one at a time. */
const FIRST = 500;
/** Bytes for each flow that we allow an end of ours. */
const LIMIT = 64 * 1024;
const PROBE = new URL("memory-probe.ts", import.meta.url);

export const bench: Bench = {
  async run({ say }) {
    using target = await startEcho();
    using homes = makeHomes(`127.0.0.1:${await freePort()}`, [target.address]);
    const results: Comparison[] = [];
    const facts: Record<string, number> = {};
    for (const transport of ["quic", "tcp"] as const) {
      await using up = await alknetUp(homes.server, { spawn: probed });
      const way = { transport, spawn: probed };
      await using forward = await alknetForward(homes.client, target.address, way);
      const ends = { node: up, "alknet forward": forward };
      const look = () => Promise.all(Object.values(ends).map(memoryOf));
      const grown = await growth(forward.ready, look);
      for (const [at, end] of Object.keys(ends).entries()) {
        const { held, resident, kept } = grown(at);
        say(
          `${transport}: ${end} ${resident} bytes, of which JavaScript holds ${held}; ${kept} kept`,
        );
        results.push(
          compare(`forward-flows ${transport}, ${end}`, [resident], [LIMIT], {
            ...{ peerName: "the limit", unit: "bytes/flow", better: "lower" },
            // On TCP each flow is a TLS connection of its own.
            goal: transport === "quic" ? 1 : undefined,
          }),
        );
        facts[`${transport}, ${end}: held by JavaScript, bytes/flow`] = held;
        facts[`${transport}, ${end}: with freed memory that is kept, bytes/flow`] = kept;
      }
    }
    await using ssh = await sshForward({ target: target.address });
    const look = () => Promise.resolve(ssh.pids.map(residentOnly));
    const grown = await growth(ssh.address, look);
    facts["sshd, bytes/flow"] = grown(0).resident;
    facts[`${sshPeerName()}, bytes/flow`] = grown(1).resident;
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no transport was run");
    return { main: { ...main, name: "forward-flows" }, variants, facts };
  },
};

/** What each process has grown by for a flow, in bytes. */
async function growth(
  address: string,
  look: () => Promise<readonly Memory[]>,
): Promise<(at: number) => Memory> {
  // A process at work is what grows: compiled, with its young generation as large as it gets. Each of these is closed
  // before the next: nothing that a flow holds is there before.
  for (let left = FIRST; left > 0; left--) (await openConnections(address, 1))[Symbol.dispose]();
  const before = await look();
  using _flows = await openConnections(address, FLOWS);
  const after = await look();
  return (at) => {
    const perFlow = (name: keyof Memory): number =>
      Math.round(((after[at]?.[name] ?? Number.NaN) - (before[at]?.[name] ?? Number.NaN)) / FLOWS);
    return { held: perFlow("held"), resident: perFlow("resident"), kept: perFlow("kept") };
  };
}

async function memoryOf(worker: Worker): Promise<Memory> {
  process.kill(worker.pid, "SIGUSR2");
  return worker.ask<Memory>("");
}

function residentOnly(pid: number): Memory {
  return { held: Number.NaN, resident: treeResidentBytes(pid), kept: Number.NaN };
}

const probed: Spawn = (command, words, options) =>
  spawn(command, words, {
    ...options,
    env: { ...options.env, NODE_OPTIONS: `--import=${PROBE.href}` },
  });
