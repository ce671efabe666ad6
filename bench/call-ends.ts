/**
 * The ends of the call benches: a server and a client in two processes, ours on each carrier, and the peers.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { type Comparison, compare, type Outcome, type RunOptions, takeTurns } from "./harness.ts";
import { makePki, type Pki } from "./pki.ts";
import { startNode, type Worker } from "./worker.ts";

/** What is run in turn: ours by its carrier, the peers by their name. */
export const OURS = ["unix", "tcp", "quic"] as const;
export const PEERS = ["grpc", "trpc", "capnweb", "ws"] as const;
export type Side = (typeof OURS)[number] | (typeof PEERS)[number];

/** Bare `ws` with JSON is no RPC: it is run beside the others, and is not "the best peer". */
const COMPARED: readonly Side[] = ["grpc", "trpc", "capnweb"];

const PACKAGES: Readonly<Record<(typeof PEERS)[number], string>> = {
  grpc: "@grpc/grpc-js",
  trpc: "@trpc/server",
  capnweb: "capnweb",
  ws: "ws",
};

export interface CallEnds extends AsyncDisposable {
  readonly server: Worker;
  readonly client: Worker;
}

/** @param flags more words for ours, e.g. `validate=no` */
export async function startEnds(
  side: Side,
  pki: Pki,
  flags: readonly string[] = [],
): Promise<CallEnds> {
  const ours = OURS.some((each) => each === side);
  const file = new URL(ours ? "call-worker.ts" : `peers/call-${side}.ts`, import.meta.url);
  const words = ({ certificateFile, keyFile }: Pki["server"], other: Pki["server"]): string[] =>
    ours
      ? [
          `carrier=${side}`,
          `certificate=${certificateFile}`,
          `key=${keyFile}`,
          `peer=${other.certificateFile}`,
          ...flags,
        ]
      : [];
  const server = await startNode(file, ["server", ...words(pki.server, pki.client)]);
  const to = ours ? `to=${server.ready}` : server.ready;
  const client = await startNode(file, ["client", ...words(pki.client, pki.server), to]);
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

export interface CallBench {
  readonly name: string;
  readonly unit: string;
  readonly better?: "higher" | "lower";
  /** Wanted of ours on the Unix socket and over TCP+TLS, and of ours over QUIC. */
  readonly goals: { readonly plain: number; readonly quic?: number };
  readonly rounds: { readonly quick: number; readonly full: number };
  /** One round of one side. */
  round(client: Worker, side: Side): Promise<number>;
}

/** Run all sides in turn, and hold ours against the best of the peers. */
export async function runCallBench(bench: CallBench, options: RunOptions): Promise<Outcome> {
  using pki = await makePki();
  await using started = new AsyncDisposableStack();
  const ends = new Map<Side, CallEnds>();
  for (const side of [...OURS, ...PEERS]) ends.set(side, started.use(await startEnds(side, pki)));
  const run = (side: Side) => () => bench.round(ends.get(side)!.client, side);
  // One round apart from the rest: compilers have to see the code first.
  for (const side of ends.keys()) await run(side)();
  const samples = await takeTurns(
    options.quick ? bench.rounds.quick : bench.rounds.full,
    Object.fromEntries([...ends.keys()].map((side) => [side, run(side)])) as Record<
      Side,
      () => Promise<number>
    >,
    options,
  );

  const { name, unit, better = "higher", goals } = bench;
  const against = (side: Side, peer: Side, goal?: number): Comparison =>
    compare(`${name}, ${CARRIERS[side as (typeof OURS)[number]]}`, samples[side], samples[peer], {
      peerName: peerName(peer),
      unit,
      better,
      goal,
    });
  const best = COMPARED.reduce((one, other) =>
    against("unix", one).ratio <= against("unix", other).ratio ? one : other,
  );
  const main = { ...against("unix", best, goals.plain), name };
  const variants = [
    against("tcp", best, goals.plain),
    against("quic", best, goals.quic),
    ...[...COMPARED, "ws" as const]
      .filter((peer) => peer !== best)
      .map((peer) => against("unix", peer)),
  ];
  return { main, variants };
}

const CARRIERS = { unix: "Unix socket", tcp: "TCP+TLS", quic: "QUIC" } as const;

function peerName(side: Side): string {
  const name = PACKAGES[side as (typeof PEERS)[number]];
  // Exact versions, all of them.
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const { devDependencies } = JSON.parse(manifest) as { devDependencies: Record<string, string> };
  return `${name} ${devDependencies[name]}`;
}
