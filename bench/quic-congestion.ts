/**
 * `quic-congestion`: what a sender makes of a line, by how it judges congestion: our BBR and CUBIC through
 * `alknet forward`, and the kernel's BBR on plain TCP. Of each the rate, the packets that the line's full queue
 * dropped, and how long a ping beside it had to wait in that queue.
 *
 * Then who gets how much of a line where our BBR meets TCP's CUBIC, TCP's BBR, and another flow of ours.
 *
 * A fresh line for each, 3 s of warm-up and 6 of measuring; flows beside each other have 5 and 15. `--quick` takes
 * the first line, by which a default is chosen.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { type Bench, compare, type Comparison, type RunOptions, takeTurns } from "./harness.ts";
import { startRust } from "./rust-peer.ts";
import { openWan, type Wan } from "./wan.ts";
import type { Worker } from "./worker.ts";

const PORT = 7433;

interface Line {
  /** Milliseconds, there and back. */
  readonly roundTrip: number;
  /** Bits per second. */
  readonly rate: number;
  readonly lossPpm: number;
  /** In multiples of what the line holds. */
  readonly queue: number;
}

const LINES: readonly Line[] = [
  { rate: 1e9, roundTrip: 100, lossPpm: 1_000, queue: 2 },
  { rate: 1e8, roundTrip: 100, lossPpm: 0, queue: 0.25 },
  { rate: 1e9, roundTrip: 100, lossPpm: 0, queue: 2 },
  { rate: 1e9, roundTrip: 100, lossPpm: 0, queue: 0.25 },
  { rate: 1e8, roundTrip: 100, lossPpm: 0, queue: 1 },
  { rate: 1e8, roundTrip: 100, lossPpm: 10_000, queue: 1 },
  { rate: 1e8, roundTrip: 100, lossPpm: 50_000, queue: 1 },
  { rate: 2e8, roundTrip: 10, lossPpm: 1_000, queue: 1 },
  { rate: 2e7, roundTrip: 20, lossPpm: 0, queue: 4 },
  { rate: 2e6, roundTrip: 40, lossPpm: 0, queue: 20 },
];
const SHARED: Line = { rate: 1e8, roundTrip: 40, lossPpm: 0, queue: 1 };

/** Who sends: `tcp` is plain TCP, without us. */
interface Sender {
  readonly by: "quic" | "tcp";
  readonly congestion: "bbr" | "cubic";
}

const OURS: Sender = { by: "quic", congestion: "bbr" };
const KERNELS: Sender = { by: "tcp", congestion: "bbr" };
const CUBIC: Sender = { by: "quic", congestion: "cubic" };
const RIVALS: readonly Sender[] = [{ by: "tcp", congestion: "cubic" }, KERNELS, OURS];

interface Rate {
  seconds: number;
  bytes: number;
}

type Facts = Record<string, number>;

export const bench: Bench = {
  async run(options) {
    const facts: Facts = {};
    const results: Comparison[] = [];
    for (const line of options.quick ? LINES.slice(0, 1) : LINES) {
      results.push(...(await onLine(line, options, facts)));
    }
    if (!options.quick) for (const rival of RIVALS) await share(rival, options, facts);
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no line was laid");
    return { main: { ...main, name: "quic-congestion" }, variants, facts };
  },
};

async function onLine(line: Line, options: RunOptions, facts: Facts): Promise<Comparison[]> {
  const name = nameOf(line);
  options.say(name);
  const flow = (sender: Sender) => async (): Promise<number> => {
    await using wan = await openWan({ ...line, congestion: sender.congestion, seed: 1 });
    await using end = await openEnd(wan, sender);
    const pings = wan.near.run("ping", "-q", "-i", "0.1", "-w", "9", wan.farAddress);
    const rate = await measure(end, 3, 6);
    const { ba } = await wan.link.report();
    if (ba.overflow + ba.refused > 0) throw new Error(`the line failed: ${JSON.stringify(ba)}`);
    facts[`${name}: ${senderName(sender)}, packets dropped`] = ba.dropped;
    facts[`${name}: ${senderName(sender)}, ms in the queue`] = meanOf(await pings) - line.roundTrip;
    return rate;
  };
  const samples = await takeTurns(
    1,
    { ours: flow(OURS), tcp: flow(KERNELS), cubic: flow(CUBIC) },
    // Each is run once, whatever time it takes.
    { say: options.say, budget: Number.POSITIVE_INFINITY },
  );
  const against = (peer: readonly number[], peerName: string): Comparison =>
    compare(`quic-congestion ${name}`, samples.ours, peer, { peerName, unit: "Mbit/s" });
  return [against(samples.tcp, senderName(KERNELS)), against(samples.cubic, senderName(CUBIC))];
}

/** Our BBR beside `rival`, who begins at the same time. */
async function share(rival: Sender, options: RunOptions, facts: Facts): Promise<void> {
  await using wan = await openWan({ ...SHARED, congestion: rival.congestion, seed: 1 });
  await using one = await openEnd(wan, OURS);
  await using other = await openEnd(wan, rival);
  const [ours, theirs] = await Promise.all([one, other].map((end) => measure(end, 5, 15)));
  const { ba } = await wan.link.report();
  const label = `${nameOf(SHARED)}: beside ${senderName(rival)}`;
  if (ours === undefined || theirs === undefined) throw new Error("no rate");
  options.say(`${label}: ${Math.round(ours)} and ${Math.round(theirs)} Mbit/s`);
  facts[`${label}, percent of both`] = (100 * ours) / (ours + theirs);
  facts[`${label}, packets dropped`] = ba.dropped;
}

interface End extends AsyncDisposable {
  readonly load: Worker;
  /** What the load connects to. */
  readonly address: string;
}

let ends = 0;

/** A server behind the far end, and the way to it. */
async function openEnd(wan: Wan, { by, congestion }: Sender): Promise<End> {
  await using made = new AsyncDisposableStack();
  // Several may be open at once.
  ends = (ends + 1) % 100;
  const { spawnFar, spawnNear, farAddress } = wan;
  const target = `${by === "tcp" ? farAddress : "127.0.0.1"}:${5_000 + ends}`;
  made.use(await startRust(["tcp-server", `listen=${target}`], { spawn: spawnFar }));
  const load = made.use(await startRust(["tcp-client"], { spawn: spawnNear }));
  let address = target;
  if (by === "quic") {
    const homes = made.use(makeHomes(`${farAddress}:${PORT + ends}`, [target], congestion));
    made.use(await alknetUp(homes.server, { spawn: spawnFar }));
    const way = { transport: "quic", spawn: spawnNear } as const;
    address = made.use(await alknetForward(homes.client, target, way)).ready;
  }
  const owned = made.move();
  return { load, address, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Megabits in a second. */
async function measure({ load, address }: End, warmUp: number, time: number): Promise<number> {
  const { bytes, seconds } = await load.ask<Rate>(
    `rate warmup=${warmUp} measure=${time} to=${address}`,
  );
  return (bytes * 8) / 1e6 / seconds;
}

/** Of ping's last line, `rtt min/avg/max/mdev = 40.1/41.2/43.0/0.9 ms`. */
function meanOf(output: string): number {
  const mean = /= [\d.]+\/([\d.]+)\//.exec(output)?.[1];
  if (mean === undefined) throw new Error(`no answer to ping: ${output}`);
  return Number(mean);
}

function senderName({ by, congestion }: Sender): string {
  return by === "quic" ? `our ${congestion.toUpperCase()}` : `TCP's ${congestion.toUpperCase()}`;
}

function nameOf({ rate, roundTrip, lossPpm, queue }: Line): string {
  return `${rate / 1e6} Mbit/s, ${roundTrip} ms, ${lossPpm / 10_000} % loss, queue ${queue}`;
}
