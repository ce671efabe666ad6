/**
 * `ssh-wan-tcp`: one connection of stock `ssh` by plain TCP to our server and to OpenSSH's, over 100 ms there and back
 * and 1 Gbit/s: what a program writes, and what one reads.
 *
 * The congestion control is the same for both, and so are the packets of the sequence that are lost. The rate is that
 * of 6 seconds after 3 of warm-up; `--quick` takes less, and BBR only.
 *
 * @module
 */

import { userInfo } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { makeLogin, opensshServer, ourServer, type StartServer, sshPeerName } from "./ssh-peer.ts";
import { type Congestion, openWan } from "./wan.ts";
import { killAtExit, type Spawn } from "./worker.ts";

const LINE = { roundTrip: 100, rate: 1e9, lossPpm: 0 };
const CHUNK = Buffer.alloc(65_536);

export const bench: Bench = {
  async run(options) {
    const cases: readonly Congestion[] = options.quick ? ["bbr"] : ["bbr", "cubic"];
    const [warmUp, measure] = options.quick ? [2_000, 3_000] : [3_000, 6_000];
    const results: Comparison[] = [];
    for (const congestion of cases) {
      options.say(congestion);
      const flow = (startServer: StartServer, direction: Direction) => async () => {
        await using wan = await openWan({ ...LINE, congestion, seed: 1 });
        using login = makeLogin();
        const address = wan.farAddress;
        const asked = { userKey: `${login.key}.pub`, address, spawn: wan.spawnFar };
        await using server = await startServer(asked);
        login.know(address, server);
        const words = ["-T", ...login.words(server.port), `${userInfo().username}@${address}`];
        // Waited for here: the line goes with this block.
        return await rate(wan.spawnNear, words, direction, { warmUp, measure });
      };
      const samples = await takeTurns(
        options.quick ? 1 : 3,
        {
          download: flow(ourServer, "download"),
          "download-sshd": flow(opensshServer, "download"),
          upload: flow(ourServer, "upload"),
          "upload-sshd": flow(opensshServer, "upload"),
        },
        options,
      );
      const name = `ssh-wan-tcp ${congestion}`;
      const against = { peerName: sshPeerName(undefined, "sshd"), unit: "Mbit/s", goal: 1 };
      results.push(
        compare(name, samples.download, samples["download-sshd"], against),
        compare(`${name} upload`, samples.upload, samples["upload-sshd"], against),
      );
    }
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no case was run");
    return { main: { ...main, name: "ssh-wan-tcp" }, variants };
  },
};

type Direction = "download" | "upload";

/** Megabits in a second through `ssh`'s standard output, or input. */
async function rate(
  spawn: Spawn,
  words: readonly string[],
  direction: Direction,
  { warmUp, measure }: { readonly warmUp: number; readonly measure: number },
): Promise<number> {
  const isUpload = direction === "upload";
  const command = isUpload ? "cat >/dev/null" : "cat /dev/zero";
  const child = spawn("ssh", [...words, command], { stdio: ["pipe", "pipe", "inherit"] });
  killAtExit(child);
  const ended = new Promise((resolve) => child.once("close", resolve));
  let bytes = 0;
  child.stdout?.on("data", (data: Buffer) => (bytes += data.length));
  // It ends in the middle of it.
  child.stdin?.on("error", () => {});
  const write = (): void => {
    child.stdin?.write(CHUNK, (error) => {
      bytes += CHUNK.length;
      if (error === undefined || error === null) write();
    });
  };
  if (isUpload) write();
  await sleep(warmUp);
  const [begin, before] = [performance.now(), bytes];
  await sleep(measure);
  const megabits = ((bytes - before) * 8) / 1e6;
  const seconds = (performance.now() - begin) / 1_000;
  if (child.exitCode !== null) throw new Error(`ssh ended with ${child.exitCode}`);
  child.kill();
  await ended;
  return megabits / seconds;
}
