/**
 * `quic-bulk`: 512 MiB on one stream, both ends in one process, as Deno has them.
 *
 * @module
 */

import { denoPeerName, startDeno } from "./deno-peer.ts";
import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { bulkRate, ourProcess } from "./quic-ends.ts";

const BYTES = 512 * 2 ** 20;
const WARM_UP = 64 * 2 ** 20;

export const bench: Bench = {
  async run(options) {
    const { quick } = options;
    using pki = await makePki();
    await using raw = await ourProcess(pki, "raw");
    await using duplex = await ourProcess(pki, "duplex");
    await using large = await ourProcess(pki, "raw", { mtu: 6_400 });
    await using deno = await startDeno(pki);
    for (const worker of [raw, duplex, large, deno]) await bulkRate(worker, WARM_UP);

    const samples = await takeTurns(
      quick ? 4 : 10,
      {
        raw: () => bulkRate(raw, BYTES),
        deno: () => bulkRate(deno, BYTES),
        duplex: () => bulkRate(duplex, BYTES),
        "raw-6400": () => bulkRate(large, BYTES),
      },
      options,
    );
    const against = { peerName: denoPeerName(), unit: "MB/s" };
    return {
      main: compare("quic-bulk", samples.raw, samples.deno, { ...against, goal: 1.5 }),
      variants: [
        compare("quic-bulk Duplex", samples.duplex, samples.deno, { ...against, goal: 1.5 }),
        compare("quic-bulk raw, our MTU up to 6,400", samples["raw-6400"], samples.deno, against),
      ],
    };
  },
};
