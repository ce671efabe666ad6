/**
 * `quic-streams`: requests and answers of 100 bytes, one after the other, each on a fresh stream.
 *
 * Beside Deno with both ends in one process, as it has them, and beside pure Rust in two.
 *
 * @module
 */

import { denoPeerName, startDeno } from "./deno-peer.ts";
import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { ourEnds, ourProcess, requestRate, rustEnds } from "./quic-ends.ts";
import { rustPeerName } from "./rust-peer.ts";

export const bench: Bench = {
  async run(options) {
    const { quick } = options;
    using pki = await makePki();
    await using deno = await startDeno(pki);
    await using raw = await ourProcess(pki, "raw");
    await using duplex = await ourProcess(pki, "duplex");
    await using rust = await rustEnds(pki);
    await using rawApart = await ourEnds(pki, "raw");
    await using duplexApart = await ourEnds(pki, "duplex");
    const clients = [deno, raw, duplex, rust.client, rawApart.client, duplexApart.client];
    // Until then the just-in-time compilers are not done: ours goes from 43 to 53 thousand, Deno's from 7 to 10.
    for (const client of clients) await requestRate(client, 30_000, 1);

    const count = quick ? 6_000 : 20_000;
    const samples = await takeTurns(
      quick ? 5 : 9,
      {
        raw: () => requestRate(raw, count, 1),
        deno: () => requestRate(deno, count, 1),
        duplex: () => requestRate(duplex, count, 1),
        "raw-apart": () => requestRate(rawApart.client, count, 1),
        "rust-apart": () => requestRate(rust.client, count, 1),
        "duplex-apart": () => requestRate(duplexApart.client, count, 1),
      },
      options,
    );
    const name = "quic-streams";
    const unit = "requests/s";
    const besideDeno = { peerName: denoPeerName(), unit };
    const besideRust = { peerName: rustPeerName(), unit };
    const apart = samples["rust-apart"];
    return {
      main: compare(name, samples.raw, samples.deno, { ...besideDeno, goal: 5 }),
      variants: [
        compare(`${name} Duplex`, samples.duplex, samples.deno, besideDeno),
        compare(`${name} two processes`, samples["raw-apart"], apart, {
          ...besideRust,
          goal: 0.75,
        }),
        compare(`${name} two processes, Duplex`, samples["duplex-apart"], apart, besideRust),
      ],
    };
  },
};
