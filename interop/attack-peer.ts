/**
 * Peers that are to be killed: connections in every state that there is, over both transports.
 *
 *     attack-peer.ts '{"address":"127.0.0.1:7433","fingerprint":"ed25519:…","key":"…","connections":500}'
 *
 * Says "there" over IPC when all are, with more under way, and waits to be killed.
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import { once } from "node:events";
import process from "node:process";
import type { Duplex } from "node:stream";
import type { Connection } from "@alknet/core/connection";
import { identityFromKey } from "@alknet/core/identity-file";
import { ping } from "@alknet/core/ping";
import { dialerOf, TRANSPORTS, type Transport } from "./attack.ts";

export interface PeerSettings {
  readonly address: string;
  readonly fingerprint: string;
  /** PKCS #8, base64. */
  readonly key: string;
  readonly connections: number;
}

/** Dials at once. */
const AT_ONCE = 16;

const settings = JSON.parse(process.argv[2] ?? "{}") as PeerSettings;
const { address, fingerprint, connections } = settings;
const der = Buffer.from(settings.key, "base64");
const identity = identityFromKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
// Windows that are soon full: there are many who do not read.
const windows = { streamReceiveWindow: 128 * 1024, receiveWindow: 128 * 1024 };
const client = dialerOf(identity, "127.0.0.1", windows);

interface State {
  readonly alpn: string;
  readonly transports: readonly Transport[];
  enter(connection: Connection): Promise<unknown>;
}

const states: readonly State[] = [
  // Not a stream yet.
  { alpn: "alknet/ping", transports: TRANSPORTS, enter: async () => {} },
  {
    alpn: "alknet/ping",
    transports: TRANSPORTS,
    // Answered, and idle.
    enter: (connection) => ping(connection, { count: 2, interval: 3_600_000 }).next(),
  },
  {
    alpn: "alknet/source",
    transports: TRANSPORTS,
    async enter(connection) {
      const stream = await asked(connection);
      // Read now and then: it moves.
      stream.on("data", () => stream.pause());
      setInterval(() => stream.resume(), 500);
    },
  },
  {
    alpn: "alknet/source",
    transports: TRANSPORTS,
    // Never read on: the window is full.
    enter: asked,
  },
  {
    alpn: "alknet/source",
    transports: TRANSPORTS,
    // Half closed.
    enter: async (connection) => (await asked(connection)).end(),
  },
  {
    alpn: "alknet/sink",
    // Over TCP the kernel goes on sending for a process that is gone, and a node that does not read cannot know.
    transports: ["quic"],
    async enter(connection) {
      const stream = await connection.open();
      stream.on("error", () => {});
      while (stream.write(Buffer.alloc(65_536)));
    },
  },
];

async function asked(connection: Connection): Promise<Duplex> {
  const stream = await connection.open();
  stream.on("error", () => {});
  stream.write("?");
  await once(stream, "readable");
  return stream;
}

const kinds = states.flatMap((state) =>
  state.transports.map((transport) => ({ state, transport })),
);
let next = 0;
async function worker(): Promise<void> {
  for (let i = next++; i < connections; i = next++) {
    const { state, transport } = kinds[i % kinds.length]!;
    const target = { address, fingerprint };
    await state.enter(await client.dial(target, state.alpn, { transports: [transport] }));
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker));
// And some in the middle of their handshakes, and of their close.
for (const transport of TRANSPORTS) {
  for (let i = 0; i < AT_ONCE; i++) {
    void client.dial({ address, fingerprint }, "alknet/ping", { transports: [transport] }).then(
      (connection) => connection.close(),
      () => {},
    );
  }
}
process.send?.("there");
process.once("disconnect", () => process.exit());
