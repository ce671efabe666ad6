/**
 * `identity`: look-ups, rights and a full reload with 100,000 peers in a SQLite store, against their limits.
 *
 * A process of its own does the work, so that its memory is that of the store. Peers have one key and one of
 * 100 different lists of rights. The reload is the one that follows each change: all rows are read, and
 * nearly all say what they said before.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Bench, compare, type Comparison } from "./harness.ts";
import type { IdentityFigures } from "./identity-worker.ts";

const PEERS = 100_000;

/** What we want at most. */
const LIMITS: Readonly<Record<keyof IdentityFigures, { limit: number; unit: string }>> = {
  lookup: { limit: 300, unit: "ns" },
  grant: { limit: 2_000, unit: "ns" },
  reload: { limit: 250, unit: "ms" },
  loopDelay: { limit: 20, unit: "ms" },
  memory: { limit: 150, unit: "MiB" },
};

export const bench: Bench = {
  async run({ quick, say }) {
    const folder = mkdtempSync(join(tmpdir(), "alknet-bench-identity-"));
    try {
      const rounds: IdentityFigures[] = [];
      for await (const line of worker(join(folder, "alknet.db"), quick ? 5 : 15)) {
        const figures = JSON.parse(line) as IdentityFigures;
        rounds.push(figures);
        const text = Object.entries(figures).map(([name, value]) => `${name} ${round(value)}`);
        say(text.join(", "));
      }
      const [main, ...variants] = (Object.keys(LIMITS) as (keyof IdentityFigures)[]).map((name) =>
        against(name, rounds),
      );
      return { main: main!, variants, facts: { peers: PEERS } };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function against(name: keyof IdentityFigures, rounds: readonly IdentityFigures[]): Comparison {
  const { limit, unit } = LIMITS[name];
  const ours = rounds.map((figures) => figures[name]);
  return compare(
    name === "lookup" ? "identity" : `identity ${name}`,
    ours,
    ours.map(() => limit),
    { peerName: "limit", unit, better: "lower", goal: 1 },
  );
}

async function* worker(path: string, rounds: number): AsyncGenerator<string> {
  const file = new URL("identity-worker.ts", import.meta.url).pathname;
  const args = ["--conditions=@alknet/source", "--expose-gc", file];
  const child = spawn(process.execPath, [...args, path, String(PEERS), String(rounds)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  const kill = (): unknown => child.kill("SIGKILL");
  process.once("exit", kill);
  yield* createInterface({ input: child.stdout });
  const [status] = (await ended) as [number | null];
  process.off("exit", kill);
  if (status !== 0) throw new Error(`the worker of bench identity ended with ${status}`);
}

function round(value: number): string {
  return String(Number(value.toPrecision(4)));
}
