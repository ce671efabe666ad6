/**
 * `quic-idle`: what an idle connection holds in memory, at 2,000 of them, on either side; and the
 * processor time of a process that has 2,000 and nothing to do.
 *
 * No keep-alive, idle time one hour. The memory is the growth of the resident set, after the process
 * has warmed up with some connections, and after a collection of garbage.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { type Ends, ourEnds, rustEnds } from "./quic-ends.ts";
import { rustPeerName } from "./rust-peer.ts";

const CONNECTIONS = 2_000;
const WARM_UP = 100;
const SETTINGS = { idle: 3_600_000, keepAlive: 0, streams: 64 };
const LIMIT_KIB = 48;
const LIMIT_PERCENT = 1;

interface Used {
  resident: number;
  cpu: number;
}

export const bench: Bench = {
  async run(options) {
    const { quick, say } = options;
    using pki = await makePki();
    const rest = quick ? 3_000 : 10_000;
    const all: Record<"ours" | "rust", Sides[]> = { ours: [], rust: [] };
    const round = async (who: "ours" | "rust"): Promise<number> => {
      const sides = await idle(
        () => (who === "ours" ? ourEnds(pki, "raw", SETTINGS) : rustEnds(pki, SETTINGS)),
        rest,
      );
      all[who].push(sides);
      say(
        `${who}: server ${sides.server.toFixed(1)} KiB, client ${sides.client.toFixed(1)} KiB, busy ${sides.busy.toFixed(2)} %`,
      );
      return Math.max(sides.server, sides.client);
    };
    const samples = await takeTurns(
      quick ? 2 : 5,
      { ours: () => round("ours"), rust: () => round("rust") },
      options,
    );

    const limit = samples.ours.map(() => LIMIT_KIB);
    const unit = "KiB/connection";
    const lower = { unit, better: "lower" } as const;
    const pick = (who: "ours" | "rust", side: keyof Sides): number[] =>
      all[who].map((sides) => sides[side]);
    return {
      main: compare("quic-idle", samples.ours, limit, { ...lower, peerName: "limit", goal: 1 }),
      variants: [
        compare("quic-idle server", pick("ours", "server"), pick("rust", "server"), {
          ...lower,
          peerName: rustPeerName(),
        }),
        compare("quic-idle client", pick("ours", "client"), pick("rust", "client"), {
          ...lower,
          peerName: rustPeerName(),
        }),
        compare(
          "quic-idle processor time",
          pick("ours", "busy"),
          limit.map(() => LIMIT_PERCENT),
          {
            unit: "% of a core",
            better: "lower",
            peerName: "limit",
            goal: 1,
          },
        ),
      ],
    };
  },
};

/** KiB per connection on each side, and the busier side's processor time in percent of a core. */
interface Sides {
  server: number;
  client: number;
  busy: number;
}

async function idle(start: () => Promise<Ends>, rest: number): Promise<Sides> {
  await using ends = await start();
  const { server, client } = ends;
  await client.ask(`hold count=${WARM_UP}`);
  const before = await both(ends);
  await client.ask(`hold count=${CONNECTIONS}`);
  const held = await both(ends);
  const each = (side: "server" | "client"): number =>
    (held[side].resident - before[side].resident) / CONNECTIONS / 1024;

  // Timers of the handshakes may still run; then there is nothing to do.
  await sleep(500);
  const begin = performance.now();
  const resting = await both(ends);
  await sleep(rest);
  const rested = [await server.ask<Used>("stats"), await client.ask<Used>("stats")] as const;
  const seconds = (performance.now() - begin) / 1000;
  // The question itself costs a garbage collection: ask twice in a row, and take its price off.
  const asked = await both(ends);
  const busy = (side: "server" | "client", at: Used): number =>
    Math.max(0, at.cpu - resting[side].cpu - (asked[side].cpu - at.cpu));
  const most = Math.max(busy("server", rested[0]), busy("client", rested[1]));
  // Less than the clock of processor time can tell is not nothing: a ratio to 0 would be no number.
  const percent = Math.max(0.01, (most / seconds) * 100);
  return { server: each("server"), client: each("client"), busy: percent };
}

async function both({ server, client }: Ends): Promise<Record<"server" | "client", Used>> {
  return { server: await server.ask<Used>("stats"), client: await client.ask<Used>("stats") };
}
