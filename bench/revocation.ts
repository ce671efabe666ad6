/**
 * `revocation`: from the commit of another process to the close that the peer's own sockets see.
 *
 * 1,000 connections of 200 peers, half over QUIC, half over TCP. One peer after another is disabled by a
 * program that knows SQL alone: UPDATE, the documented notification, COMMIT. The time runs from the moment
 * that COMMIT has returned to the `closed` of each of that peer's five connections, in the peer's process.
 * Nobody else's connection may close.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bench, type Comparison, compare } from "./harness.ts";
import { seed, type Writer, writerOf } from "./revocation-store.ts";
import { startNode } from "./worker.ts";

const PEERS = 200;
const EACH = 5;
const WORKER = new URL("revocation-worker.ts", import.meta.url);

export const bench: Bench = {
  async run(options) {
    const folder = mkdtempSync(join(tmpdir(), "alknet-bench-"));
    try {
      return await revocation(options, {
        name: "revocation",
        storeOf: async (round) => join(folder, `round-${round}.db`),
        goals: { p50: 5, p99: 50 },
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

export interface RevocationSetting {
  readonly name: string;
  /** A path or URL of an empty store. */
  readonly storeOf: (round: number) => Promise<string>;
  /** Milliseconds; see architecture §4. */
  readonly goals: { readonly p50: number; readonly p99: number };
}

/** The bench, on some store. */
export async function revocation(
  { quick, say }: Parameters<Bench["run"]>[0],
  { name, storeOf, goals }: RevocationSetting,
): ReturnType<Bench["run"]> {
  const rounds = quick ? 1 : 3;
  const figures: Figures[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const measured = await measure(await storeOf(round), say);
    say(`p50 ${measured.p50.toFixed(2)} ms, p99 ${measured.p99.toFixed(2)} ms`);
    figures.push(measured);
  }
  const of = (pick: (it: Figures) => number, limit: number, title: string): Comparison =>
    compare(
      title,
      figures.map(pick),
      figures.map(() => limit),
      { unit: "ms", better: "lower", peerName: "limit", goal: 1 },
    );
  return {
    main: of((it) => it.p99, goals.p99, name),
    variants: [
      of((it) => it.p50, goals.p50, `${name} p50`),
      of((it) => it.quic, goals.p99, `${name} p99, QUIC alone`),
      of((it) => it.tcp, goals.p99, `${name} p99, TCP alone`),
    ],
    facts: { "others that were closed": 0, "connections each round": PEERS * EACH },
  };
}

/** Milliseconds from commit to close: of all, and at the 99th percentile of each transport. */
interface Figures {
  p50: number;
  p99: number;
  quic: number;
  tcp: number;
}

interface Close {
  peer: number;
  at: string;
  transport: string;
}

async function measure(store: string, say: (line: string) => void): Promise<Figures> {
  await using client = await startNode(WORKER, ["client", `peers=${PEERS}`, `each=${EACH}`]);
  const fingerprints = client.ready.split(" ");
  await seed(
    store,
    fingerprints.map((fingerprint, at) => ({ peerId: `peer-${at}`, fingerprint })),
  );
  await using server = await startNode(WORKER, ["server", `store=${store}`]);
  const [address = "", fingerprint = ""] = server.ready.split(" ");
  await client.ask(`connect to=${address} server=${fingerprint}`);
  const { live } = await server.ask<{ live: number }>("live");
  if (live !== PEERS * EACH) throw new Error(`expected ${PEERS * EACH} connections, got ${live}`);
  say(`${live} connections`);

  await using writer: Writer = await writerOf(store);
  const delays: { milliseconds: number; transport: string }[] = [];
  for (let peer = 0; peer < PEERS; peer += 1) {
    const committed = await writer.disable(`peer-${peer}`);
    const { closes } = await client.ask<{ closes: Close[] }>(`closes least=${EACH}`);
    for (const { peer: whose, at, transport } of closes) {
      if (whose !== peer)
        throw new Error(`a connection of peer ${whose} was closed, not ${peer}'s`);
      delays.push({ milliseconds: Number(BigInt(at) - committed) / 1e6, transport });
    }
  }
  const left = await server.ask<{ live: number }>("live");
  if (left.live !== 0) throw new Error(`${left.live} connections were left`);
  const over = (transport?: string): number[] =>
    delays
      .filter((it) => transport === undefined || it.transport === transport)
      .map(({ milliseconds }) => milliseconds)
      .toSorted((a, b) => a - b);
  return {
    p50: percentile(over(), 0.5),
    p99: percentile(over(), 0.99),
    quic: percentile(over("quic"), 0.99),
    tcp: percentile(over("tcp"), 0.99),
  };
}

/** The value at `share` (0 to 1) of them all. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
