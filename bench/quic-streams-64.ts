/**
 * `quic-streams-64`: requests and answers of 100 bytes, each on a fresh stream, 64 in flight, in two
 * processes beside pure Rust.
 *
 * @module
 */

import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { ourEnds, requestRate, rustEnds } from "./quic-ends.ts";
import { rustPeerName } from "./rust-peer.ts";

const PARALLEL = 64;

export const bench: Bench = {
  async run(options) {
    const { quick } = options;
    using pki = await makePki();
    await using rust = await rustEnds(pki);
    await using raw = await ourEnds(pki, "raw");
    await using duplex = await ourEnds(pki, "duplex");
    // Until then the just-in-time compiler is not done: raw goes from 170 to 370 thousand.
    for (const { client } of [rust, raw, duplex]) await requestRate(client, 192_000, PARALLEL);

    const count = quick ? 64_000 : 256_000;
    const samples = await takeTurns(
      quick ? 5 : 9,
      {
        raw: () => requestRate(raw.client, count, PARALLEL),
        rust: () => requestRate(rust.client, count, PARALLEL),
        duplex: () => requestRate(duplex.client, count, PARALLEL),
      },
      options,
    );
    const name = "quic-streams-64";
    const against = { peerName: rustPeerName(), unit: "requests/s" };
    return {
      main: compare(name, samples.raw, samples.rust, { ...against, goal: 0.7 }),
      variants: [
        compare(`${name} Duplex`, samples.duplex, samples.rust, { ...against, goal: 0.4 }),
      ],
    };
  },
};
