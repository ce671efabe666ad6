/**
 * `forward-flows`: memory for each of 1,000 connections that are open through `alknet forward`, of the node and of
 * `forward`, as the system counts it. With `ssh -L` and sshd beside them.
 *
 * Each has carried 64 KiB both ways.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { freePort } from "@alknet/core/testing-port";
import { type Bench, compare, type Comparison } from "./harness.ts";
import { openConnections, startEcho } from "./open-connections.ts";
import { treeResidentBytes } from "./process-tree.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";

const FLOWS = 1_000;
/** Bytes for each flow that we allow an end of ours. */
const LIMIT = 64 * 1024;

export const bench: Bench = {
  async run({ say }) {
    using target = await startEcho();
    using homes = makeHomes(`127.0.0.1:${await freePort()}`, [target.address]);
    const results: Comparison[] = [];
    const facts: Record<string, number> = {};
    for (const transport of ["quic", "tcp"] as const) {
      await using up = await alknetUp(homes.server);
      await using forward = await alknetForward(homes.client, target.address, { transport });
      const [node = 0, client = 0] = await perFlow(forward.ready, [up.pid, forward.pid]);
      say(`${transport}: ${node} and ${client} bytes for each of ${FLOWS}`);
      const name = transport === "quic" ? "forward-flows" : "forward-flows over TCP+TLS";
      const against = { unit: "bytes/flow", better: "lower", peerName: "the limit" } as const;
      results.push(
        compare(name, [node], [LIMIT], { ...against, goal: 1 }),
        compare(`${name}, alknet forward`, [client], [LIMIT], { ...against, goal: 1 }),
      );
    }
    await using ssh = await sshForward({ target: target.address });
    const [server = 0, client = 0] = await perFlow(ssh.address, ssh.pids);
    facts["sshd, bytes/flow"] = server;
    facts[`${sshPeerName()}, bytes/flow`] = client;
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no transport was run");
    return { main, variants, facts };
  },
};

/** What each process has grown by, with what it has started. */
async function perFlow(address: string, pids: readonly number[]): Promise<number[]> {
  // Compiled, and with the tables grown, before anything is counted.
  using _first = await openConnections(address, 20);
  const before = pids.map(treeResidentBytes);
  using _flows = await openConnections(address, FLOWS);
  return pids.map((pid, at) =>
    Math.round((treeResidentBytes(pid) - (before[at] ?? Number.NaN)) / FLOWS),
  );
}
