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
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { makeLogin, opensshServer, ourServer, type StartServer, sshPeerName } from "./ssh-peer.ts";
import { type Direction, rate, type Span } from "./ssh-wan-rate.ts";
import { type Congestion, openWan } from "./wan.ts";

const LINE = { roundTrip: 100, rate: 1e9, lossPpm: 0 };

export const bench: Bench = {
  async run(options) {
    const cases: readonly Congestion[] = options.quick ? ["bbr"] : ["bbr", "cubic"];
    const span: Span = options.quick
      ? { warmUp: 2_000, measure: 3_000 }
      : { warmUp: 3_000, measure: 6_000 };
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
        const words = [
          "ssh",
          "-T",
          ...login.words(server.port),
          `${userInfo().username}@${address}`,
        ];
        // Waited for here: the line goes with this block.
        return await rate(wan.spawnNear, words, direction, span);
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
