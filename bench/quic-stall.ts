/**
 * `quic-stall`: bulk while the JavaScript thread of one end is blocked for 200 ms in each second, with
 * 32 other connections idle beside it.
 *
 * The engine lives on that thread: while it is blocked nothing is acknowledged, and no keep-alive is
 * sent. No connection may be lost over it; the peer is ourselves without the blocking. Blocked for a
 * fifth of the time, 0.8 is what is left.
 *
 * @module
 */

import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { bulkRate, type Ends, ourEnds } from "./quic-ends.ts";

const BLOCK = 200;
const EVERY = 1_000;
const OTHERS = 32;
/** Tight, so that a connection which the blocking starves would be lost in this run. */
const SETTINGS = { idle: 3_000, keepAlive: 1_000 };

export const bench: Bench = {
  async run(options) {
    const { quick } = options;
    using pki = await makePki();
    await using receiver = await ourEnds(pki, "raw", SETTINGS);
    await using sender = await ourEnds(pki, "raw", SETTINGS);
    await using free = await ourEnds(pki, "raw", SETTINGS);
    for (const { client } of [receiver, sender, free]) {
      await client.ask(`hold count=${OTHERS} stream=yes`);
      await bulkRate(client, 64 * 2 ** 20);
    }

    await receiver.server.ask(`stall block=${BLOCK} every=${EVERY}`);
    await sender.client.ask(`stall block=${BLOCK} every=${EVERY}`);
    const bytes = (quick ? 1 : 6) * 2 ** 30;
    const samples = await takeTurns(
      quick ? 3 : 5,
      {
        receiver: () => bulkRate(receiver.client, bytes),
        free: () => bulkRate(free.client, bytes),
        sender: () => bulkRate(sender.client, bytes),
      },
      options,
    );

    let lost = 0;
    for (const ends of [receiver, sender, free]) lost += OTHERS - (await stillOpen(ends));
    if (lost > 0) throw new Error(`${lost} of ${3 * OTHERS} idle connections were lost`);
    const against = { peerName: "ourselves unblocked", unit: "MB/s" };
    return {
      main: compare("quic-stall", samples.receiver, samples.free, against),
      variants: [compare("quic-stall sender blocked", samples.sender, samples.free, against)],
      facts: { "connections lost": lost, "connections idle": 3 * OTHERS },
    };
  },
};

/** Held connections that both ends still have. */
async function stillOpen({ server, client }: Ends): Promise<number> {
  const [mine, theirs] = [
    await client.ask<{ open: number }>("stats"),
    await server.ask<{ open: number }>("stats"),
  ];
  return Math.min(mine.open, theirs.open);
}
