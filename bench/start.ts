/**
 * `start`: from the call to a node that is ready, a whole `alknet ping --count 1` to one that runs, and a whole
 * `alknet vault status` beside an agent.
 *
 * Called as people call it, by the script in the root of the checkout, from sources. Bare Node with an
 * empty program stands beside them: what no program on it can be faster than.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { ALKNET, alknetUp, makeHomes, vaultAgent } from "./alknet-cli.ts";
import { freePort } from "@alknet/core/testing-port";
import { type Bench, compare, takeTurns } from "./harness.ts";

const UP_LIMIT = 500;
const PING_LIMIT = 400;
const STATUS_LIMIT = 150;

export const bench: Bench = {
  async run(options) {
    using homes = makeHomes(`127.0.0.1:${await freePort()}`, []);
    using others = makeHomes(`127.0.0.1:${await freePort()}`, []);
    await using _running = await alknetUp(homes.server);
    await using _agent = await vaultAgent(others.client);

    const up = async (): Promise<number> => {
      const begin = performance.now();
      const node = await alknetUp(others.server);
      const milliseconds = performance.now() - begin;
      await node[Symbol.asyncDispose]();
      return milliseconds;
    };
    const ping = (): Promise<number> =>
      wall(ALKNET, ["ping", "server", "--count", "1", "--json"], { ALKNET_HOME: homes.client });
    const status = (): Promise<number> =>
      wall(ALKNET, ["vault", "status", "--json"], { ALKNET_HOME: others.client });
    const bare = (): Promise<number> => wall(process.execPath, ["-e", "0"], {});
    // The first start compiles, the others find what it kept.
    for (const each of [up, ping, status, bare]) await each();

    const samples = await takeTurns(options.quick ? 9 : 21, { up, ping, status, bare }, options);
    const unit = "ms";
    const against = { unit, better: "lower", peerName: "limit", goal: 1 } as const;
    const node = { unit, better: "lower", peerName: "node -e 0" } as const;
    return {
      main: compare(
        "start up",
        samples.up,
        samples.up.map(() => UP_LIMIT),
        against,
      ),
      variants: [
        compare(
          "start ping",
          samples.ping,
          samples.ping.map(() => PING_LIMIT),
          against,
        ),
        compare(
          "start vault status",
          samples.status,
          samples.status.map(() => STATUS_LIMIT),
          against,
        ),
        compare("start up", samples.up, samples.bare, node),
        compare("start ping", samples.ping, samples.bare, node),
        compare("start vault status", samples.status, samples.bare, node),
      ],
    };
  },
};

/** Milliseconds from the call to the end of a program that must succeed. */
async function wall(
  command: string,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const begin = performance.now();
  const child = spawn(command, words, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, ...env },
  });
  // With a status, as no signal of ours ends it.
  const [status] = (await once(child, "exit")) as [number | null];
  const milliseconds = performance.now() - begin;
  if (status !== 0) throw new Error(`${command} ${words.join(" ")} ended with ${status}`);
  return milliseconds;
}
