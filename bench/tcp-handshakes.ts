/**
 * `tcp-handshakes`: TCP+TLS with a certificate asked of the client, up to the server's first byte, one
 * by one and 32 in flight. With us that is peek, TLS by ALPN, identity and router; the peer is bare
 * `node:tls` that asks for a certificate, too. No resumption on either side.
 *
 * @module
 */

import { type Bench, compare, takeTurns } from "./harness.ts";
import { makePki } from "./pki.ts";
import { bareEnds, barePeerName, coreEnds, tcpHandshakeRate } from "./tcp-ends.ts";

export const bench: Bench = {
  async run(options) {
    using pki = await makePki();
    await using core = await coreEnds(pki);
    await using bare = await bareEnds(pki);
    for (const ends of [core, bare]) await tcpHandshakeRate(ends, 640, 32);

    const count = options.quick ? 320 : 1_280;
    const samples = await takeTurns(
      options.quick ? 7 : 11,
      {
        ours: () => tcpHandshakeRate(core, count, 1),
        bare: () => tcpHandshakeRate(bare, count, 1),
        "ours-32": () => tcpHandshakeRate(core, 2 * count, 32),
        "bare-32": () => tcpHandshakeRate(bare, 2 * count, 32),
      },
      options,
    );
    const name = "tcp-handshakes";
    const against = { peerName: barePeerName(), unit: "handshakes/s", goal: 0.9 };
    return {
      main: compare(name, samples.ours, samples.bare, against),
      variants: [compare(`${name} 32 in flight`, samples["ours-32"], samples["bare-32"], against)],
    };
  },
};
