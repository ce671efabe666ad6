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
import { startSshServer } from "../interop/ssh-server.ts";
import { type Bench, compare, type Outcome, type RunOptions, takeTurns } from "./harness.ts";
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

  /** Megabytes a second of one connection, from its beginning to its end. */
  const flow = (port: number | string, direction: "down" | "up", cipher?: string) => async () => {
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
    return bytes / 1e6 / seconds;
  };

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
  };
}

function peerName(): string {
  const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
  return `sshd, OpenSSH ${/OpenSSH_([0-9a-z.]+)/.exec(stderr)?.[1] ?? "?"}`;
}
