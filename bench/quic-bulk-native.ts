/**
 * `quic-bulk-native`: 512 MiB on one stream between two processes, beside the same stack in pure Rust.
 *
 * At the default MTU, and with discovery up to 6,400, which the loopback allows: there the goal is
 * set against our own figure at the default.
 *
 * @module
 */

import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { bulkRate, ourEnds, rustEnds } from "./quic-ends.ts";
import { rustPeerName } from "./rust-peer.ts";

const BYTES = 512 * 2 ** 20;
const WARM_UP = 64 * 2 ** 20;
const LARGE = { mtu: 6_400 };

export const bench: Bench = {
  async run(options) {
    const { quick } = options;
    using pki = await makePki();
    await using rust = await rustEnds(pki);
    await using rustLarge = await rustEnds(pki, LARGE);
    await using raw = await ourEnds(pki, "raw");
    await using duplex = await ourEnds(pki, "duplex");
    await using rawLarge = await ourEnds(pki, "raw", LARGE);
    for (const { client } of [rust, rustLarge, raw, duplex, rawLarge]) {
      await bulkRate(client, WARM_UP);
    }

    const samples = await takeTurns(
      quick ? 5 : 15,
      {
        raw: () => bulkRate(raw.client, BYTES),
        rust: () => bulkRate(rust.client, BYTES),
        duplex: () => bulkRate(duplex.client, BYTES),
        "raw-6400": () => bulkRate(rawLarge.client, BYTES),
        "rust-6400": () => bulkRate(rustLarge.client, BYTES),
      },
      options,
    );
    const name = "quic-bulk-native";
    const unit = "MB/s";
    const against = { peerName: rustPeerName(), unit };
    const large = samples["raw-6400"];
    return {
      main: compare(name, samples.raw, samples.rust, { ...against, goal: 0.92 }),
      variants: [
        compare(`${name} Duplex`, samples.duplex, samples.rust, { ...against, goal: 0.88 }),
        compare(`${name} MTU up to 6,400`, large, samples.raw, {
          peerName: "ourselves at 1,452",
          unit,
          goal: 1.4,
        }),
        compare(`${name} both up to 6,400`, large, samples["rust-6400"], against),
      ],
    };
  },
};
