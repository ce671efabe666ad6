/**
 * `socks`: a connection through `alknet socks` and through `ssh -D`, the same client, which gives addresses: bytes of
 * one, and how many can be opened in a second, 16 at a time, of which each brings a byte.
 *
 * @module
 */

import { alknetSocks, alknetUp, makeHomes } from "./alknet-cli.ts";
import { forwardedFlow } from "./forwarded-flow.ts";
import { freePort } from "@alknet/core/testing-port";
import { type Bench, compare, type Comparison, takeTurns } from "./harness.ts";
import { startRust } from "./rust-peer.ts";
import { sshForward, sshPeerName } from "./ssh-peer.ts";
import type { Timed } from "./worker.ts";

const BYTES = 512 * 2 ** 20;
const TOGETHER = 16;
/** In one go: half a second of them, and before all enough to have compiled what they run through. */
const CONNECTIONS = 1_600;
const GCM = "aes128-gcm@openssh.com";

/** As the `tunnel` benches have them. */
const WAYS = [
  { name: "socks", transport: "quic", cipher: undefined, goal: 1.2 },
  { name: "socks over TCP+TLS", transport: "tcp", cipher: GCM, goal: 1 },
] as const;

export const bench: Bench = {
  async run(options) {
    await using source = await startRust(["tcp-server"]);
    await using load = await startRust(["tcp-client"]);
    using homes = makeHomes(`127.0.0.1:${await freePort()}`, [source.ready]);
    await using up = await alknetUp(homes.server);
    const results: Comparison[] = [];
    for (const { name, transport, cipher, goal } of WAYS) {
      await using proxy = await alknetSocks(homes.client, { transport });
      await using ssh = await sshForward({ target: "socks", cipher });
      const to = (via: string): string => `to=${source.ready} via=${via}`;
      const ours = forwardedFlow(load, to(proxy.ready), [up.pid, proxy.pid]);
      const theirs = forwardedFlow(load, to(ssh.address), ssh.pids);
      const opened = (via: string) => async (): Promise<number> => {
        const words = `connections count=${CONNECTIONS} parallel=${TOGETHER} ${to(via)}`;
        return CONNECTIONS / (await load.ask<Timed>(words)).seconds;
      };
      for (const each of [ours, theirs]) await each.run("download", BYTES / 4);
      for (const via of [proxy.ready, ssh.address]) await opened(via)();
      const samples = await takeTurns(
        options.quick ? 3 : 11,
        {
          download: () => ours.run("download", BYTES),
          "download-ssh": () => theirs.run("download", BYTES),
          upload: () => ours.run("upload", BYTES),
          "upload-ssh": () => theirs.run("upload", BYTES),
          connections: opened(proxy.ready),
          "connections-ssh": opened(ssh.address),
        },
        { say: options.say, budget: options.budget / WAYS.length },
      );
      const peerName = sshPeerName(cipher, "ssh -D");
      const bulk = { peerName, unit: "MB/s", goal };
      const times = [[ours.secondsPerGigabyte()], [theirs.secondsPerGigabyte()]] as const;
      // On TCP+TLS each costs a handshake, which one of ssh's does not: no goal.
      const perSecond = transport === "quic" ? goal : undefined;
      const rate = { peerName, unit: "connections/s", goal: perSecond };
      results.push(
        compare(name, samples.download, samples["download-ssh"], bulk),
        compare(`${name} upload`, samples.upload, samples["upload-ssh"], bulk),
        compare(`${name} connections`, samples.connections, samples["connections-ssh"], rate),
        compare(`${name} processor time`, ...times, { peerName, unit: "s/GB", better: "lower" }),
      );
    }
    const [main, ...variants] = results;
    if (main === undefined) throw new Error("no way was run");
    return { main, variants };
  },
};
