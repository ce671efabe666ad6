/**
 * `ssh-connect`: from the start of `alknet ssh` until the prompt of the shell is there, over QUIC between two machines
 * that are 100 ms apart, there and back. With `ssh` to OpenSSH's server in the same minutes, into the same account.
 *
 * The programs start anew each time, as people start them, each on a terminal. The node and sshd have served somebody
 * before.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Bench, compare, type Outcome, type RunOptions, takeTurns } from "./harness.ts";
import { openSshWan, opensshName } from "./ssh-wan-ends.ts";
import type { Wan } from "./wan.ts";

const PROMPT = "ready> ";

export const bench: Bench = {
  async run(options: RunOptions): Promise<Outcome> {
    const line = { roundTrip: 100, lossPpm: 0, rate: 1e9, congestion: "cubic", seed: 1 } as const;
    await using ends = await openSshWan(line);
    writeFileSync(join(ends.home, ".bash_profile"), `PS1='${PROMPT}'\n`);
    const terminal = [...ends.ssh, "-tt"];
    const run = (words: readonly string[]) => () => untilPrompt(ends.wan, words);
    // What is loaded or made at the first time has been.
    await run(ends.alknet)();
    await run(terminal)();
    const samples = await takeTurns(
      options.quick ? 5 : 15,
      { ours: run(ends.alknet), ssh: run(terminal) },
      options,
    );
    const against = { peerName: opensshName(), unit: "ms", better: "lower", goal: 1.67 } as const;
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
