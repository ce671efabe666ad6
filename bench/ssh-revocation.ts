/**
 * `ssh-revocation`: from the commit of another process that takes back one right to the end of what stood on it: a shell,
 * a command, an agent's socket, a connection by `-L`, a listener with a connection that came by `-R`.
 *
 * Peers with two connections each, over QUIC and over TCP, and all of that on either. One right after another is taken
 * back by a program that knows SQL alone. The time runs from the moment that its COMMIT has returned: until the client
 * sees the channel's end, and until the last process that was started on it has died. Nothing else may end.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bench, type Comparison, compare, median } from "./harness.ts";
import { percentile } from "./revocation.ts";
import { seed, writerOfSqlite } from "./revocation-store.ts";
import { type End, type Kind, type Part, RIGHTS } from "./ssh-revocation-work.ts";
import { startNode } from "./worker.ts";

const WORKER = new URL("ssh-revocation-worker.ts", import.meta.url);
/** Connections of a peer. */
const EACH = 2;
/** Milliseconds; see architecture §4. */
const GOALS = { p50: 5, p99: 50 };

export const bench: Bench = {
  async run({ quick, say }) {
    const [rounds, peers] = quick ? [1, 20] : [3, 50];
    const folder = mkdtempSync(join(tmpdir(), "alknet-bench-"));
    const key = join(folder, "host");
    const figures: Figures[] = [];
    try {
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
      for (let round = 0; round < rounds; round += 1) {
        const delays = await measure({ key, peers, store: join(folder, `round-${round}.db`) });
        figures.push(figuresOf(delays));
        say(`${delays.length} ends: ${JSON.stringify(figures.at(-1))}`);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    const of = (title: string, name: keyof Figures, limit: number): Comparison =>
      compare(
        title,
        figures.map((each) => each[name]),
        figures.map(() => limit),
        { unit: "ms", better: "lower", peerName: "limit", goal: 1 },
      );
    return {
      main: of("ssh-revocation", "p99", GOALS.p99),
      variants: [
        of("ssh-revocation p50", "p50", GOALS.p50),
        of("ssh-revocation p99, processes", "processes p99", GOALS.p99),
      ],
      facts: {
        "p50 of processes, ms": median(figures.map((each) => each["processes p50"])),
        ...Object.fromEntries(
          KINDS.map((kind) => [`p99 of ${kind}, ms`, median(figures.map((each) => each[kind]))]),
        ),
        "others that ended": 0,
        "connections each round": peers * EACH,
      },
    };
  },
};

// Object.keys() forgets the names' type.
const KINDS = Object.keys(RIGHTS) as Kind[];

interface Delay {
  readonly kind: Kind;
  readonly part: Part;
  /** From the commit. */
  readonly milliseconds: number;
}

type Figures = Readonly<Record<"p50" | "p99" | "processes p50" | "processes p99" | Kind, number>>;

function figuresOf(delays: readonly Delay[]): Figures {
  const at = (share: number, isWanted: (delay: Delay) => boolean): number => {
    const wanted = delays.filter(isWanted).map(({ milliseconds }) => milliseconds);
    return percentile(
      wanted.toSorted((one, other) => one - other),
      share,
    );
  };
  const isPart =
    (wanted: Part) =>
    ({ part }: Delay): boolean =>
      part === wanted;
  const ofKind = (kind: Kind): number =>
    at(0.99, (delay) => delay.kind === kind && delay.part === "channel");
  return {
    p50: at(0.5, isPart("channel")),
    p99: at(0.99, isPart("channel")),
    "processes p50": at(0.5, isPart("processes")),
    "processes p99": at(0.99, isPart("processes")),
    ...{ agent: ofKind("agent"), shell: ofKind("shell"), exec: ofKind("exec") },
    ...{ "-L": ofKind("-L"), "-R": ofKind("-R") },
  };
}

interface Round {
  readonly key: string;
  readonly store: string;
  readonly peers: number;
}

async function measure({ key, store, peers }: Round): Promise<Delay[]> {
  await using client = await startNode(WORKER, ["client", `peers=${peers}`]);
  const names = client.ready.split(" ").map((fingerprint, at) => ({
    ...{ peerId: `peer-${at}`, fingerprint },
  }));
  await seed(store, names, Object.values(RIGHTS));
  await using server = await startNode(WORKER, ["server", `store=${store}`, `key=${key}`]);
  const [address = "", fingerprint = ""] = server.ready.split(" ");
  await client.ask(`begin to=${address} server=${fingerprint}`);

  await using writer = writerOfSqlite(store);
  const delays: Delay[] = [];
  for (const [peer, { peerId }] of names.entries()) {
    for (const [at, kind] of KINDS.entries()) {
      const left = KINDS.slice(at + 1).map((other) => RIGHTS[other]);
      const committed = await writer.leave(peerId, left);
      const parts = kind === "shell" || kind === "exec" ? 2 : 1;
      const { ends } = await client.ask<{ ends: End[] }>(`ends least=${EACH * parts}`);
      for (const { peer: whose, kind: what, part, at: seen } of ends) {
        if (whose !== peer || what !== kind) {
          throw new Error(`${what} of peer ${whose} ended with ${kind} of peer ${peer}`);
        }
        delays.push({ kind, part, milliseconds: Number(BigInt(seen) - committed) / 1e6 });
      }
    }
  }
  const { ports } = await client.ask<{ ports: number }>("listening");
  const { connections, sessions } = await server.ask<Live>("live");
  if (ports + sessions > 0 || connections !== peers * EACH) {
    throw new Error(
      `expected ${peers * EACH} connections and nothing on them, got ${connections}, ${sessions} sessions and ${ports} listeners`,
    );
  }
  return delays;
}

interface Live {
  readonly connections: number;
  readonly sessions: number;
}
