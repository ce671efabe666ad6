/**
 * `tcp-bulk`: 512 MiB over TCP+TLS, through endpoint, router and dialer, beside bare `node:tls`.
 *
 * @module
 */

import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { bulkRate } from "./quic-ends.ts";
import { bareEnds, barePeerName, coreEnds } from "./tcp-ends.ts";

const BYTES = 512 * 2 ** 20;

export const bench: Bench = {
  async run(options) {
    using pki = await makePki();
    await using core = await coreEnds(pki);
    await using bare = await bareEnds(pki);
    for (const { client } of [core, bare]) await bulkRate(client, BYTES / 4);

    const samples = await takeTurns(
      options.quick ? 11 : 25,
      { ours: () => bulkRate(core.client, BYTES), bare: () => bulkRate(bare.client, BYTES) },
      options,
    );
    const against = { peerName: barePeerName(), unit: "MB/s", goal: 0.95 };
    return { main: compare("tcp-bulk", samples.ours, samples.bare, against) };
  },
};
