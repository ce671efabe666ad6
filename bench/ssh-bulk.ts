/**
 * `ssh-bulk`: a file through `ssh host cat`, by stock `ssh` over plain TCP on loopback, from our server and from
 * OpenSSH's, each with the client's default cipher and with AES-128-GCM.
 *
 * @module
 */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startSshServer } from "../interop/ssh-server.ts";
import {
  type Bench,
  compare,
  median,
  type Outcome,
  type RunOptions,
  takeTurns,
} from "./harness.ts";
import { startNode } from "./worker.ts";

const GCM = "aes128-gcm@openssh.com";
const WORKER = new URL("ssh-worker.ts", import.meta.url);

export const bench: Bench = {
  async run(options: RunOptions): Promise<Outcome> {
    const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
    try {
      return await run(folder, options);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function run(folder: string, options: RunOptions): Promise<Outcome> {
  const at = (name: string): string => join(folder, name);
  for (const name of ["host", "user"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", at(name)]);
  }
  const bytes = (options.quick ? 256 : 512) * 2 ** 20;
  writeFileSync(at("file"), "");
  truncateSync(at("file"), bytes);
  await using ours = await startNode(WORKER, [at("host"), at("user.pub")]);
  await using theirs = await startSshServer([readFileSync(at("user.pub"), "utf8").trim()]);
  const hostKey = readFileSync(at("host.pub"), "utf8").trim();
  writeFileSync(
    at("known"),
    `[127.0.0.1]:${ours.ready} ${hostKey}\n[127.0.0.1]:${theirs.port} ${theirs.hostKey}\n`,
  );

  /** Processor time of each server and what it has started, in seconds for a gigabyte. */
  const times = new Map<string, number[]>();

  /** Megabytes a second of one connection, from its beginning to its end. */
  const flow = (port: number | string, direction: "down" | "up", cipher?: string) => async () => {
    const server = port === ours.ready ? ours.pid : theirs.program.pid;
    const before = await restingCpuSeconds(server);
    const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
    const words = [
      ...["-F", "none", "-T", "-p", String(port), "-i", at("user")],
      ...set("UserKnownHostsFile", at("known")),
      ...set("GlobalKnownHostsFile", "none"),
      ...set("IdentitiesOnly", "yes"),
      ...set("IdentityAgent", "none"),
      ...set("BatchMode", "yes"),
      ...(cipher === undefined ? [] : ["-c", cipher]),
      ...["127.0.0.1", direction === "down" ? `cat ${at("file")}` : "cat >/dev/null"],
    ];
    const [input, output] = [openSync(at("file"), "r"), openSync("/dev/null", "w")];
    const stdio = [direction === "up" ? input : "ignore", output, "inherit"] as const;
    const begin = performance.now();
    const status = await new Promise((resolve) => {
      spawn("ssh", words, { stdio: [...stdio] }).once("close", resolve);
    });
    const seconds = (performance.now() - begin) / 1_000;
    closeSync(input);
    closeSync(output);
    if (status !== 0) throw new Error(`ssh ended with ${String(status)}`);
    const name = [direction, cipher, port === ours.ready ? "ours" : "sshd", "s/GB"].join(" ");
    const spent = (await restingCpuSeconds(server)) - before;
    times.set(name, [...(times.get(name) ?? []), spent / (bytes / 1e9)]);
    return bytes / 1e6 / seconds;
  };

  // A node has run for a while: its code is compiled by then. And whoever reads the file first waits for its pages.
  for (const cipher of [undefined, GCM]) {
    for (const direction of ["down", "up"] as const) await flow(ours.ready, direction, cipher)();
  }
  times.clear();

  const samples = await takeTurns(
    options.quick ? 3 : 11,
    {
      down: flow(ours.ready, "down"),
      "down-sshd": flow(theirs.port, "down"),
      up: flow(ours.ready, "up"),
      "up-sshd": flow(theirs.port, "up"),
      "down-gcm": flow(ours.ready, "down", GCM),
      "down-gcm-sshd": flow(theirs.port, "down", GCM),
      "up-gcm": flow(ours.ready, "up", GCM),
      "up-gcm-sshd": flow(theirs.port, "up", GCM),
    },
    options,
  );
  const against = { peerName: peerName(), unit: "MB/s", goal: 1 };
  return {
    main: compare("ssh-bulk", samples.down, samples["down-sshd"], against),
    variants: [
      compare("ssh-bulk upload", samples.up, samples["up-sshd"], against),
      compare("ssh-bulk aes128-gcm", samples["down-gcm"], samples["down-gcm-sshd"], against),
      compare("ssh-bulk upload aes128-gcm", samples["up-gcm"], samples["up-gcm-sshd"], against),
    ],
    facts: Object.fromEntries([...times].map(([name, all]) => [name, median(all)])),
  };
}

/** proc_pid_stat(5): user and system time of a process and of its children that have ended, once that stands still. */
async function restingCpuSeconds(pid: number): Promise<number> {
  for (let before = -1; ; await sleep(50)) {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = fields.slice(11, 15).reduce((sum, each) => sum + Number(each), 0);
    if (ticks === before) return ticks / 100;
    before = ticks;
  }
}

function peerName(): string {
  const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
  return `sshd, OpenSSH ${/OpenSSH_([0-9a-z.]+)/.exec(stderr)?.[1] ?? "?"}`;
}
