/**
 * `ssh-forward`: one connection of stock `ssh -L` through our SSH server and through OpenSSH's, by plain TCP on
 * loopback, with the client's default cipher and with AES-128-GCM.
 *
 * @module
 */

import { forwardedFlow } from "./forwarded-flow.ts";
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { startRust } from "./rust-peer.ts";
import { ourServer, sshForward, sshPeerName } from "./ssh-peer.ts";

const BYTES = 256 * 2 ** 20;
const CIPHERS = [undefined, "aes128-gcm@openssh.com"];

export const bench: Bench = {
  async run(options) {
    await using source = await startRust(["tcp-server"]);
    await using load = await startRust(["tcp-client"]);
    const results: Comparison[] = [];
    for (const cipher of CIPHERS) {
      const both = { target: source.ready, cipher };
      await using viaOurs = await sshForward({ ...both, startServer: ourServer });
      await using viaTheirs = await sshForward(both);
      const ours = forwardedFlow(load, `to=${viaOurs.address}`, viaOurs.pids.slice(0, 1));
      const theirs = forwardedFlow(load, `to=${viaTheirs.address}`, viaTheirs.pids.slice(0, 1));
      // A node has run for a while: its code is compiled by then, which takes half a gigabyte each way.
      for (const direction of ["download", "upload"] as const) {
        for (const each of [ours, theirs]) await each.run(direction, 2 * BYTES);
      }
      const samples = await takeTurns(
        options.quick ? 7 : 11,
        {
          download: () => ours.run("download", BYTES),
          "download-sshd": () => theirs.run("download", BYTES),
          upload: () => ours.run("upload", BYTES),
          "upload-sshd": () => theirs.run("upload", BYTES),
        },
        { say: options.say, budget: options.budget / CIPHERS.length },
      );
      const name = cipher === undefined ? "ssh-forward" : "ssh-forward aes128-gcm";
      const peerName = sshPeerName(cipher, "sshd");
      const against = { peerName, unit: "MB/s", goal: 1 };
      const times = [[ours.secondsPerGigabyte()], [theirs.secondsPerGigabyte()]] as const;
      results.push(
        compare(name, samples.download, samples["download-sshd"], against),
        compare(`${name} upload`, samples.upload, samples["upload-sshd"], against),
        // The server's alone: the client is the same program.
        compare(`${name} processor time`, ...times, { peerName, unit: "s/GB", better: "lower" }),
      );
    }
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no cipher was run");
    return { main, variants };
  },
};
