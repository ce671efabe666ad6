/**
 * Fuzzes the boundary between JavaScript and the QUIC engine: random calls in random order from several
 * threads, with collections forced.
 *
 *     node --expose-gc --conditions=@alknet/source fuzz/quic-boundary.ts [--seconds=60] [--seed=N] [--threads=3] [--kind=raw]
 *
 * It ends with 0 when nothing crashed, nothing was left behind and memory stayed flat; its last line says
 * in JSON what was done. Seeds are printed: the same seed makes the same choices. See `README.md`.
 *
 * @module
 */

import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { randomOf } from "./random.ts";

/** How long a thread may take to close everything and to end, in milliseconds. */
const GRACE = 60_000;
/** Memory may wander by this much between the second and the last quarter of a run, in MiB. */
const SLACK = 256;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(process.hrtime.bigint() % 2n ** 31n) },
    threads: { type: "string", default: "3" },
    kind: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
const threads = Number(values.threads);
if (values.kind !== undefined && values.kind !== "raw" && values.kind !== "objects") {
  throw new RangeError(`cannot fuzz kind ${JSON.stringify(values.kind)}: expected raw or objects`);
}
process.stdout.write(`seed ${seed}, ${threads} threads, ${seconds} s\n`);

interface Report {
  seed: number;
  failed?: string;
  done?: object;
}

/** The command that has one thread do it again, alone. */
function replay(file: string, own: number): string {
  const kind = file.replace(/^quic-|\.ts$/g, "");
  const flags = `--seed=${own} --kind=${kind} --threads=1 --seconds=${seconds}`;
  return `${file} (replay: node --expose-gc --conditions=@alknet/source fuzz/quic-boundary.ts ${flags})`;
}

const done: object[] = [];
const failures: string[] = [];
// A thread in three is of the raw kind, unless `--kind` says which all are.
const workers = Array.from({ length: threads }, (_, index) => {
  const file = `quic-${values.kind ?? (index % 3 === 2 ? "raw" : "objects")}.ts`;
  const own = seed + index * 7_919;
  const worker = new Worker(new URL(file, import.meta.url), {
    workerData: { seed: own, seconds },
  });
  const what = replay(file, own);
  worker.on("message", (report: Report) => {
    if (report.failed !== undefined) failures.push(`${what}: ${report.failed}`);
    if (report.done !== undefined) done.push(report.done);
  });
  worker.on("error", (error) =>
    failures.push(`${what}: ${String((error as Error).stack ?? error)}`),
  );
  const stop = new AbortController();
  const deadline = setTimeout(seconds * 1_000 + GRACE, undefined, { signal: stop.signal });
  deadline.then(
    () => {
      failures.push(`${what}: something keeps the thread alive`);
      void worker.terminate();
    },
    () => {},
  );
  return new Promise<void>((resolve) => {
    worker.on("exit", () => {
      stop.abort();
      resolve();
    });
  });
});

// Beside them threads that are terminated in mid-course, one after the other.
const random = randomOf(seed);
const until = performance.now() + seconds * 1_000;
let terminated = 0;
async function churn(): Promise<void> {
  while (performance.now() < until) {
    const own = seed + 31 * terminated;
    const file = `quic-${values.kind ?? (random.oneIn(2) ? "objects" : "raw")}.ts`;
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: { seed: own, seconds: 10 },
    });
    worker.on("error", (error) => failures.push(`${replay(file, own)}: ${String(error)}`));
    worker.on("message", ({ failed }: Report) => {
      if (failed !== undefined) failures.push(`${replay(file, own)}: ${failed}`);
    });
    await setTimeout(100 + random.below(1_500));
    await worker.terminate();
    terminated++;
  }
}
workers.push(churn());

const memory: number[] = [];
const meter = setInterval(() => memory.push(process.memoryUsage.rss() / 2 ** 20), 500);
await Promise.all(workers);
clearInterval(meter);

const quarter = Math.floor(memory.length / 4);
const early = Math.min(...memory.slice(quarter, 2 * quarter));
const late = Math.min(...memory.slice(-quarter));
if (quarter >= 4 && late - early > SLACK) {
  failures.push(`memory grew from ${early.toFixed(0)} to ${late.toFixed(0)} MiB`);
}
if (done.length !== threads) failures.push(`${threads - done.length} threads did not finish`);
process.stdout.write(
  `${JSON.stringify({ seed, seconds, early, late, terminated, done, failures })}\n`,
);
process.exitCode = failures.length > 0 ? 1 : 0;
