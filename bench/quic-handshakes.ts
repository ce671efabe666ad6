/**
 * `quic-handshakes`: connections with certificates on both sides and X25519MLKEM768, closed at once.
 *
 * Every one must have reached the server, with its certificate proved: the server counts.
 *
 * @module
 */

import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { handshakeRate, ourEnds, rustEnds } from "./quic-ends.ts";
import { rustPeerName } from "./rust-peer.ts";

export const bench: Bench = {
  async run(options) {
    const { quick } = options;
    using pki = await makePki();
    await using rust = await rustEnds(pki);
    await using ours = await ourEnds(pki, "raw");
    for (const ends of [rust, ours]) await handshakeRate(ends, 320, 32);

    const scale = quick ? 1 : 4;
    const samples = await takeTurns(
      quick ? 7 : 9,
      {
        ours: () => handshakeRate(ours, 800 * scale, 1),
        rust: () => handshakeRate(rust, 800 * scale, 1),
        "ours-32": () => handshakeRate(ours, 1_600 * scale, 32),
        "rust-32": () => handshakeRate(rust, 1_600 * scale, 32),
      },
      options,
    );
    const against = { peerName: rustPeerName(), unit: "handshakes/s", goal: 0.9 };
    const name = "quic-handshakes";
    return {
      main: compare(name, samples.ours, samples.rust, against),
      variants: [compare(`${name} 32 in flight`, samples["ours-32"], samples["rust-32"], against)],
    };
  },
};
