/**
 * A line between two network namespaces with delay, loss, a rate and a bounded queue.
 *
 * The work is done by a small C program (`link/link.c`, which says how), built here on first use:
 * many kernels have no netem, and a line whose losses are seeded makes runs comparable.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, renameSync, statSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Namespace } from "../interop/netns.ts";

/** What a line does to packets, in each direction unless said otherwise. */
export interface LinkOptions {
  /** One way, in milliseconds. @default 0 */
  delay?: number | undefined;
  /** Chance that a packet is lost, in parts per million. @default 0 */
  lossPpm?: number | undefined;
  /** Bits per second of IP packets; 0 for no limit. @default 0 */
  rate?: number | undefined;
  /** Bytes that may wait for the rate. @default twice the rate times the round trip, at least 64 packets */
  queueBytes?: number | undefined;
  /** Packets that may wait for the rate; 0 for no limit in packets. @default 0 */
  queuePackets?: number | undefined;
  /** @default 1500 */
  mtu?: number | undefined;
  /** Seed of the losses: the same seed loses the same packets of the same sequence. @default 1 */
  seed?: number | undefined;
  /** Rest at each wake-up, in milliseconds: less CPU, and as much more delay. @default 0 */
  tick?: number | undefined;
  /** The device's name in both namespaces. @default "link0" */
  device?: string | undefined;
}

/** One end of the line. */
export interface LinkEnd {
  namespace: Namespace;
  /** With the length of the prefix, e.g. `10.0.0.1/24`. */
  addresses: readonly string[];
}

/** What one direction has done so far. */
export interface LinkCounters {
  packetsIn: number;
  bytesIn: number;
  packetsOut: number;
  bytesOut: number;
  /** By chance, as asked. */
  lost: number;
  /** The queue was full. */
  dropped: number;
  /** The program's own memory was full: a rate or queue too high for it. Should be 0. */
  overflow: number;
  /** The receiving device was down. */
  refused: number;
  queuePeakBytes: number;
}

/** Both directions: from `a` to `b`, and back. */
export interface LinkReport {
  ab: LinkCounters;
  ba: LinkCounters;
}

/** An open line. Disposing it is {@linkcode Link.close}. */
export interface Link extends AsyncDisposable {
  readonly device: string;
  /** What has passed so far. */
  report(): Promise<LinkReport>;
  /** Take the line down, devices included. Idempotent. */
  close(): Promise<LinkReport>;
}

/** Lay a line between two namespaces. It is up, with its addresses, when the promise resolves. */
export async function openLink(a: LinkEnd, b: LinkEnd, options: LinkOptions = {}): Promise<Link> {
  const device = options.device ?? "link0";
  // Standard input ends with this process, however it ends: so does the line.
  const ends = ["--a", a.namespace.name, "--b", b.namespace.name, "--device", device];
  const child = spawn(linkProgram(), [...ends, "--watch-stdin", ...linkArguments(options)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const output = new Output(child);
  const first = await output.next();
  if (first !== "ready") throw await output.failure();
  for (const end of [a, b]) {
    for (const address of end.addresses) await end.namespace.addAddress(device, address);
  }

  let closing: Promise<LinkReport> | undefined;
  const close = async (): Promise<LinkReport> => {
    child.stdin?.end();
    const last = await output.next();
    if (last === undefined) throw await output.failure();
    // The devices go with the process.
    await output.ended;
    return parseReport(last);
  };
  return {
    device,
    async report() {
      child.kill("SIGUSR1");
      const line = await output.next();
      if (line === undefined) throw await output.failure();
      return parseReport(line);
    },
    close: () => (closing ??= close()),
    async [Symbol.asyncDispose]() {
      await (closing ??= close());
    },
  };
}

/** Build the program if its source is newer. Its path. */
export function linkProgram(): string {
  const source = fileURLToPath(new URL("link/link.c", import.meta.url));
  const folder = fileURLToPath(new URL("link/target/", import.meta.url));
  const program = `${folder}link`;
  if (modified(program) > modified(source)) return program;
  mkdirSync(folder, { recursive: true });
  // Built aside and renamed: two runs at once never see half a program.
  const fresh = `${program}.${process.pid}`;
  const compiler = process.env["CC"] ?? "cc";
  const flags = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror"];
  const built = spawnSync(compiler, [...flags, "-o", fresh, source], { encoding: "utf8" });
  if (built.status !== 0) {
    throw new Error(
      `cannot build ${source} with ${compiler}: ${built.error?.message ?? built.stderr}`,
    );
  }
  renameSync(fresh, program);
  return program;
}

function linkArguments(options: LinkOptions): string[] {
  const { delay, lossPpm, rate, queueBytes, queuePackets, mtu, seed, tick } = options;
  const words: string[] = [];
  const add = (name: string, value: number | undefined, unit: string): void => {
    if (value !== undefined) words.push(name, `${value}${unit}`);
  };
  add("--delay", delay, "ms");
  add("--loss", lossPpm, "ppm");
  add("--rate", rate, "bit");
  add("--queue-bytes", queueBytes, "");
  add("--queue-packets", queuePackets, "");
  add("--mtu", mtu, "");
  add("--seed", seed, "");
  add("--tick", tick, "ms");
  return words;
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -1;
}

// The only writer is our own program.
function parseReport(line: string): LinkReport {
  return JSON.parse(line) as LinkReport;
}

/** Lines of a child, and what it said when there are no more. */
class Output {
  readonly #lines: AsyncIterator<string>;
  /** The child's status, once all of its output is in. */
  readonly ended: Promise<number | null>;
  #errors = "";

  constructor(child: ChildProcess) {
    if (child.stdout === null || child.stderr === null) throw new TypeError("expected pipes");
    const lines: Interface = createInterface({ input: child.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    this.ended = new Promise((resolve) => {
      child.once("close", resolve);
    });
  }

  async next(): Promise<string | undefined> {
    const { value, done } = await this.#lines.next();
    return done === true ? undefined : value;
  }

  async failure(): Promise<Error> {
    const status = await this.ended;
    return new Error(this.#errors.trim() || `link ended with status ${status}`);
  }
}
