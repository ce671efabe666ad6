/**
 * `ssh-sessions`: new sessions a second on one connection, each of which runs `true`, eight at a time; at our server
 * and at OpenSSH's, with the same client.
 *
 * @module
 */

import { type Bench, compare, median, type Outcome, takeTurns } from "./harness.ts";
import { runToEnd, startSshEnds } from "./ssh-ends.ts";

/** What we want at least, a second. */
const WANTED = 100;
/** Fewer than the ten that sshd allows by itself. */
const TOGETHER = 8;

export const bench: Bench = {
  async run(options): Promise<Outcome> {
    await using ends = await startSshEnds();
    const count = options.quick ? 200 : 1_000;
    const sessions = (port: number) => async () => {
      const client = await ends.connect(port);
      let left = count;
      const some = async (): Promise<void> => {
        while (left-- > 0) {
          const status = await runToEnd(client, "true");
          if (status !== 0) throw new Error(`true ended with ${status}`);
        }
      };
      const begin = performance.now();
      await Promise.all(Array.from({ length: TOGETHER }, some));
      const seconds = (performance.now() - begin) / 1_000;
      client.end();
      return count / seconds;
    };
    const samples = await takeTurns(
      options.quick ? 3 : 7,
      { ours: sessions(ends.ours), sshd: sessions(ends.theirs) },
      options,
    );
    const against = { peerName: "sshd", unit: "sessions/s" };
    return {
      main: compare("ssh-sessions", samples.ours, samples.sshd, against),
      facts: {
        [`at least ${WANTED} sessions/s`]: median(samples.ours) >= WANTED ? "met" : "MISSED",
      },
    };
  },
};
