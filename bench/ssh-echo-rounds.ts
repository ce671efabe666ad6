/**
 * How long a keystroke on a terminal takes there and back, the 99th of a hundred, while bulk runs from the same server
 * or to it: by stock `ssh`, on the same connection (ControlMaster) and beside it, at our server and at OpenSSH's; and by
 * `alknet ssh` over QUIC, beside another.
 *
 * Programs that people have carry both, and this process does nothing but type: a client in here would keep its
 * keystrokes waiting for the bulk that it reads.
 *
 * @module
 */

import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  compare,
  type Comparison,
  median,
  type Outcome,
  type RunOptions,
  takeTurns,
} from "./harness.ts";
import { startEchoWays, type Way } from "./ssh-echo-ways.ts";
import { sshPeerName } from "./ssh-peer.ts";
import { killAtExit } from "./worker.ts";

/** What we want at most, in milliseconds. */
const LIMIT = 10;
/** Between two keystrokes, in milliseconds. */
const TYPING = 5;

/** Bulk one way. */
export interface Direction {
  /** What runs at the far end, and takes the place of its shell. */
  readonly command: string;
  /** What the near end's stdin is, and its stdout. */
  readonly file: string;
  /** What proc_pid_io(5) counts of it at the near end: by far the most is that. */
  readonly counter: "rchar" | "wchar";
}

/** @param name of the bench. */
export async function echoRounds(
  name: string,
  direction: Direction,
  options: RunOptions,
): Promise<Outcome> {
  await using ways = await startEchoWays();
  const count = options.quick ? 150 : 1_000;
  /** Of the bulk meanwhile, in megabytes a second. */
  const rates = new Map<Way, number[]>();

  const echoes = (way: Way) => async () => {
    const bulk = await startBulk(way, direction);
    const before = movedBytes(bulk, direction);
    const begin = performance.now();
    const time = await typed(way, count);
    const rate = (movedBytes(bulk, direction) - before) / 1_000 / (performance.now() - begin);
    rates.set(way, [...(rates.get(way) ?? []), rate]);
    await end(bulk);
    return time;
  };
  const samples = await takeTurns(
    options.quick ? 3 : 7,
    {
      ours: echoes(ways.ours),
      sshd: echoes(ways.sshd),
      "ours-beside": echoes(ways["ours-beside"]),
      "sshd-beside": echoes(ways["sshd-beside"]),
      quic: echoes(ways.quic),
    },
    options,
  );
  const rateOf = (way: Way): number => Math.round(median(rates.get(way) ?? []));
  const theirs = sshPeerName(undefined, "sshd");
  const against = { peerName: theirs, unit: "ms", better: "lower" } as const;
  return {
    main: underLimit(name, samples.ours),
    variants: [
      underLimit(`${name} beside`, samples["ours-beside"]),
      underLimit(`${name} beside, QUIC`, samples.quic),
      compare(`${name} to sshd`, samples.ours, samples.sshd, against),
      compare(`${name} beside to sshd`, samples["ours-beside"], samples["sshd-beside"], against),
    ],
    facts: {
      "MB/s meanwhile": rateOf(ways.ours),
      "MB/s meanwhile, beside": rateOf(ways["ours-beside"]),
      "MB/s meanwhile, QUIC": rateOf(ways.quic),
      "MB/s meanwhile, sshd": rateOf(ways.sshd),
      "MB/s meanwhile, sshd beside": rateOf(ways["sshd-beside"]),
    },
  };
}

function underLimit(name: string, times: readonly number[]): Comparison {
  const limits = times.map(() => LIMIT);
  return compare(name, times, limits, { peerName: "limit", unit: "ms", better: "lower", goal: 1 });
}

/** @returns the 99th of a hundred, in milliseconds. */
async function typed(way: Way, count: number): Promise<number> {
  const child = await start([...way.typing, "echo begun; exec cat"], "pipe");
  const keyboard = child.stdin as Writable;
  const screen = child.stdout as Readable;
  const times: number[] = [];
  for (let each = 0; each < count; each++) {
    const begin = performance.now();
    keyboard.write("x");
    // The terminal's own echo: no line ends, so that nothing comes of `cat`.
    await once(screen, "data");
    times.push(performance.now() - begin);
    await sleep(TYPING);
  }
  await end(child);
  return times.toSorted((one, other) => one - other)[Math.floor(count * 0.99)] ?? Number.NaN;
}

/** Its far end says on stderr that it has begun. */
async function startBulk(way: Way, { command, file }: Direction): Promise<ChildProcess> {
  const descriptor = openSync(file, "r+");
  const words = [...way.bulk, `echo begun >&2; exec ${command}`];
  try {
    return await start(words, [descriptor, descriptor, "pipe"]);
  } finally {
    closeSync(descriptor);
  }
}

/** Start a program, and wait for its first output; that on stderr, if its stdout is none of ours. */
async function start(
  [file = "", ...words]: readonly string[],
  stdio: StdioOptions,
): Promise<ChildProcess> {
  const child = spawn(file, words, { stdio });
  killAtExit(child);
  let errors = "";
  child.stderr?.on("data", (data: Buffer) => (errors += data.toString()));
  const ended = once(child, "close").then(() => {
    throw new Error(`${file} has ended: ${errors.trim()}`);
  });
  await Promise.race([once((child.stdout ?? child.stderr) as Readable, "data"), ended]);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  child.kill();
  await closed;
}

function movedBytes({ pid }: ChildProcess, { counter }: Direction): number {
  const counts = readFileSync(`/proc/${pid}/io`, "utf8");
  return Number(new RegExp(`^${counter}: (\\d+)$`, "m").exec(counts)?.[1]);
}
