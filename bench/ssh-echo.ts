/**
 * `ssh-echo`: how long a keystroke takes there and back, the 99th of a hundred, while a bulk transfer to the same client
 * runs, on the same connection and on another; at our server and at OpenSSH's.
 *
 * @module
 */

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, ClientChannel } from "ssh2";
import { type Bench, compare, median, type Outcome, takeTurns } from "./harness.ts";
import { exec, startSshEnds } from "./ssh-ends.ts";

/** What we want at most, in milliseconds. */
const LIMIT = 10;
/** Between two keystrokes, in milliseconds. */
const TYPING = 5;

export const bench: Bench = {
  async run(options): Promise<Outcome> {
    await using ends = await startSshEnds();
    const count = options.quick ? 200 : 1_000;
    const echoes = (port: number, isShared: boolean) => async () => {
      const client = await ends.connect(port);
      const other = isShared ? client : await ends.connect(port);
      const bulk = await exec(other, "cat /dev/zero");
      bulk.resume();
      await once(bulk, "data");
      const time = await typed(client, count);
      for (const each of new Set<Client>([client, other])) each.end();
      return time;
    };
    const samples = await takeTurns(
      options.quick ? 3 : 7,
      {
        ours: echoes(ends.ours, true),
        sshd: echoes(ends.theirs, true),
        "ours-beside": echoes(ends.ours, false),
        "sshd-beside": echoes(ends.theirs, false),
      },
      options,
    );
    const against = { peerName: "sshd", unit: "ms", better: "lower" } as const;
    const isMet = (times: readonly number[]): string => (median(times) < LIMIT ? "met" : "MISSED");
    return {
      main: compare("ssh-echo", samples.ours, samples.sshd, against),
      variants: [
        compare("ssh-echo beside", samples["ours-beside"], samples["sshd-beside"], against),
      ],
      facts: {
        [`under ${LIMIT} ms on the same connection`]: isMet(samples.ours),
        [`under ${LIMIT} ms beside another`]: isMet(samples["ours-beside"]),
      },
    };
  },
};

/** @returns the 99th of a hundred, in milliseconds. */
async function typed(client: Client, count: number): Promise<number> {
  const channel: ClientChannel = await exec(client, "cat");
  const times: number[] = [];
  for (let each = 0; each < count; each++) {
    const begin = performance.now();
    channel.write("x");
    await once(channel, "data");
    times.push(performance.now() - begin);
    await sleep(TYPING);
  }
  channel.end();
  return times.toSorted((one, other) => one - other)[Math.floor(count * 0.99)] ?? 0;
}
