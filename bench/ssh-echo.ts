/**
 * `ssh-echo`: how long a keystroke on a terminal takes there and back, the 99th of a hundred, while a download from the
 * same server runs: by stock `ssh`, on the same connection (ControlMaster) and beside it, at our server and at
 * OpenSSH's; and by `alknet ssh` over QUIC, beside another.
 *
 * Programs that people have carry both, and this process does nothing but type: a client in here would keep its
 * keystrokes waiting for the bulk that it reads.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Bench,
  compare,
  type Comparison,
  median,
  type Outcome,
  takeTurns,
} from "./harness.ts";
import { startEchoWays, type Way } from "./ssh-echo-ways.ts";
import { sshPeerName } from "./ssh-peer.ts";
import { killAtExit } from "./worker.ts";

/** What we want at most, in milliseconds. */
const LIMIT = 10;
/** Between two keystrokes, in milliseconds. */
const TYPING = 5;

export const bench: Bench = {
  async run(options): Promise<Outcome> {
    await using ways = await startEchoWays();
    const count = options.quick ? 150 : 1_000;
    /** Of the bulk meanwhile, in megabytes a second. */
    const rates = new Map<Way, number[]>();

    const echoes = (way: Way) => async () => {
      const bulk = await start([...way.bulk, "echo begun >&2; exec cat /dev/zero"], "ignore");
      const before = writtenBytes(bulk);
      const begin = performance.now();
      const time = await typed(way, count);
      const rate = (writtenBytes(bulk) - before) / 1_000 / (performance.now() - begin);
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
      main: underLimit("ssh-echo", samples.ours),
      variants: [
        underLimit("ssh-echo beside", samples["ours-beside"]),
        underLimit("ssh-echo beside, QUIC", samples.quic),
        compare("ssh-echo to sshd", samples.ours, samples.sshd, against),
        compare("ssh-echo beside to sshd", samples["ours-beside"], samples["sshd-beside"], against),
      ],
      facts: {
        "MB/s meanwhile": rateOf(ways.ours),
        "MB/s meanwhile, beside": rateOf(ways["ours-beside"]),
        "MB/s meanwhile, QUIC": rateOf(ways.quic),
        "MB/s meanwhile, sshd": rateOf(ways.sshd),
        "MB/s meanwhile, sshd beside": rateOf(ways["sshd-beside"]),
      },
    };
  },
};

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

/**
 * Start a program, and wait for its first output.
 *
 * @param pipes of stdin and stdout: who ignores those waits for stderr.
 */
async function start(
  [file = "", ...words]: readonly string[],
  pipes: "pipe" | "ignore",
): Promise<ChildProcess> {
  const child = spawn(file, words, { stdio: [pipes, pipes, "pipe"] });
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

/** proc_pid_io(5): by far the most is what has come. */
function writtenBytes({ pid }: ChildProcess): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}
