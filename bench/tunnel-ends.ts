/**
 * One forwarded TCP flow, through `alknet forward` and through `ssh -L`: four processes each, of which
 * the program that serves and the one that loads are the same for both.
 *
 * @module
 */

import { alknetForward, alknetUp, makeHomes } from "./alknet-cli.ts";
import { forwardedFlow } from "./forwarded-flow.ts";
import { freePort } from "@alknet/core/testing-port";
import { type Bench, compare, type Outcome, type RunOptions, takeTurns } from "./harness.ts";
import { startRust } from "./rust-peer.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";

const BYTES = 512 * 2 ** 20;

export interface TunnelSettings {
  name: string;
  transport: "quic" | "tcp";
  cipher?: string | undefined;
  goal: number;
}

/** The bench for one way of ours beside one cipher of theirs. */
export function tunnelBench({ name, transport, cipher, goal }: TunnelSettings): Bench {
  return {
    async run(options: RunOptions): Promise<Outcome> {
      await using source = await startRust(["tcp-server"]);
      await using load = await startRust(["tcp-client"]);
      using homes = makeHomes(`127.0.0.1:${await freePort()}`, [source.ready]);
      await using up = await alknetUp(homes.server);
      await using forward = await alknetForward(homes.client, source.ready, { transport });
      await using ssh = await sshForward({ target: source.ready, cipher });

      const ours = forwardedFlow(load, `to=${forward.ready}`, [up.pid, forward.pid]);
      const theirs = forwardedFlow(load, `to=${ssh.address}`, ssh.pids);
      for (const each of [ours, theirs]) await each.run("download", BYTES / 4);
      const samples = await takeTurns(
        options.quick ? 5 : 15,
        {
          download: () => ours.run("download", BYTES),
          "download-ssh": () => theirs.run("download", BYTES),
          upload: () => ours.run("upload", BYTES),
          "upload-ssh": () => theirs.run("upload", BYTES),
        },
        options,
      );
      const against = { peerName: sshPeerName(cipher), unit: "MB/s" };
      return {
        main: compare(name, samples.download, samples["download-ssh"], { ...against, goal }),
        variants: [
          compare(`${name} upload`, samples.upload, samples["upload-ssh"], { ...against, goal }),
          compare(
            `${name} processor time`,
            [ours.secondsPerGigabyte()],
            [theirs.secondsPerGigabyte()],
            {
              peerName: against.peerName,
              unit: "s/GB",
              better: "lower",
            },
          ),
        ],
      };
    },
  };
}
