/**
 * `ssh-connect`: from the start of `alknet ssh` until the prompt of the shell is there, over QUIC between two machines
 * that are 100 ms apart, there and back. With `ssh` to OpenSSH's server in the same minutes, into the same account.
 *
 * The programs start anew each time, as people start them, each on a terminal. The node and sshd have served somebody
 * before.
 *
 * @module
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSshServer } from "../interop/ssh-server.ts";
import { makeAccount } from "../interop/system-account.ts";
import { ALKNET, alknetUp, makeHomes } from "./alknet-cli.ts";
import { type Bench, compare, type Outcome, type RunOptions, takeTurns } from "./harness.ts";
import { openWan, type Wan } from "./wan.ts";

const ROUND_TRIP = 100;
const PORT = 7433;
const PROMPT = "ready> ";

export const bench: Bench = {
  async run(options: RunOptions): Promise<Outcome> {
    using made = new DisposableStack();
    const account = made.use(makeAccount());
    const folder = mkdtempSync(join(tmpdir(), "alknet-bench-ssh-"));
    made.defer(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(account.home, ".bash_profile"), `PS1='${PROMPT}'\n`);
    const key = join(folder, "key");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);

    await using wan = await openWan({
      ...{ roundTrip: ROUND_TRIP, lossPpm: 0, rate: 1e9, congestion: "cubic", seed: 1 },
    });
    const { farAddress, spawnFar } = wan;
    mkdirSync(join(account.home, ".ssh"));
    copyFileSync(`${key}.pub`, join(account.home, ".ssh/authorized_keys"));
    // sshd lets nobody in whose account is locked.
    execFileSync("usermod", ["--password", "*", account.name]);
    await using sshd = await startSshServer([], { address: farAddress, spawn: spawnFar });
    const known = join(folder, "known");
    writeFileSync(known, `[${farAddress}]:${sshd.port} ${sshd.hostKey}\n`);
    using homes = makeHomes(`${farAddress}:${PORT}`, []);
    const config = join(homes.server, "alknet.toml");
    const rights = readFileSync(config, "utf8").replace("scopes = []", 'scopes = ["ssh:shell"]');
    writeFileSync(config, rights);
    appendFileSync(config, `user = "${account.name}"\n`);
    await using _node = await alknetUp(homes.server, { spawn: spawnFar });

    const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
    const ssh = [
      ...["ssh", "-F", "none", "-tt", "-p", String(sshd.port), "-i", key],
      ...set("UserKnownHostsFile", known),
      ...set("GlobalKnownHostsFile", "none"),
      ...set("IdentitiesOnly", "yes"),
      ...set("IdentityAgent", "none"),
      ...[`${account.name}@${farAddress}`],
    ];
    const alknet = ["env", `ALKNET_HOME=${homes.client}`, ALKNET, "ssh", "--quic", "server"];
    const run = (words: readonly string[]) => () => untilPrompt(wan, words);
    // What is loaded or made at the first time has been.
    await run(alknet)();
    await run(ssh)();
    const samples = await takeTurns(
      options.quick ? 5 : 15,
      { ours: run(alknet), ssh: run(ssh) },
      options,
    );
    const against = { peerName: peerName(), unit: "ms", better: "lower", goal: 1.67 } as const;
    return { main: compare("ssh-connect", samples.ours, samples.ssh, against) };
  },
};

/** Milliseconds from the start to the prompt, on a terminal. */
async function untilPrompt({ spawnNear }: Wan, words: readonly string[]): Promise<number> {
  const begin = performance.now();
  // util-linux: a terminal without a runtime to start first.
  const command = words.map((word) => `'${word}'`).join(" ");
  const child = spawnNear("script", ["-qfec", command, "/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  let screen = "";
  let time: number | undefined;
  child.stdout?.on("data", (data: Buffer) => {
    screen += data.toString();
    if (time !== undefined || !screen.includes(PROMPT)) return;
    time = performance.now() - begin;
    child.stdin?.end("exit\n");
  });
  await ended;
  if (time === undefined) throw new Error(`ended without a prompt: ${command}\n${screen}`);
  return time;
}

function peerName(): string {
  const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
  return `ssh, OpenSSH ${/OpenSSH_([0-9a-z.]+)/.exec(stderr)?.[1] ?? "?"}`;
}
