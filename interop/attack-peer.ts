/**
 * Peers that are to be killed: connections in every state that there is, over both transports.
 *
 *     attack-peer.ts '{"port":7433,"fingerprint":"ed25519:…","key":"…","connections":500}'
 *
 * Says over IPC how many there are of each kind once all are, with more under way, and waits to be killed.
 *
 * @module
 */

import { createPrivateKey } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import type { Connection } from "@alknet/core/connection";
import { identityFromKey } from "@alknet/core/identity-file";
import { ping } from "@alknet/core/ping";
import { dialerOf, TRANSPORTS, type Transport } from "./attack.ts";
import { boundSocket, captureHello, captureInitials } from "./captured.ts";

export interface PeerSettings {
  /** Of 127.0.0.1. */
  readonly port: number;
  readonly fingerprint: string;
  /** PKCS #8, base64. */
  readonly key: string;
  readonly connections: number;
}

/** How many connections were begun. */
export interface PeersThere {
  /** That have come through their handshake. */
  readonly established: number;
  /** That stay in it. */
  readonly handshaking: number;
}

/** Dials at once. */
const AT_ONCE = 16;

const settings = JSON.parse(process.argv[2] ?? "{}") as PeerSettings;
const { port, fingerprint, connections } = settings;
const address = `127.0.0.1:${port}`;
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

const hello = await captureHello();
const udp = await boundSocket("127.0.0.1");

/** Handshakes that go no further than this. */
const handshakes: readonly (() => Promise<void>)[] = [
  () => overTcp(Buffer.alloc(0)),
  () => overTcp(hello.subarray(0, hello.length / 2)),
  // The node has answered that, and waits.
  () => overTcp(hello),
  () => overQuic(1),
  // As over TCP: half open.
  () => overQuic(2),
];

async function overTcp(bytes: Buffer): Promise<void> {
  const socket = net.connect({ host: "127.0.0.1", port, noDelay: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(bytes);
}

async function overQuic(datagrams: 1 | 2): Promise<void> {
  for (const datagram of await captureInitials(datagrams)) udp.send(datagram, port, "127.0.0.1");
}

const dials = states.flatMap((state) =>
  state.transports.map((transport) => async (): Promise<void> => {
    const target = { address, fingerprint };
    const connection = await client.dial(target, state.alpn, { transports: [transport] });
    await state.enter(connection).catch((error: { code?: unknown }) => {
      // On a slow machine it has been idle for too long on its way there: gone, as it was to be.
      if (error.code !== "TIMEOUT") throw error;
    });
  }),
);

/** Begin `count`, of these kinds in turn. */
async function begin(kinds: readonly (() => Promise<void>)[], count: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) await kinds[i % kinds.length]!();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const handshaking = Math.round(
  (connections * handshakes.length) / (handshakes.length + dials.length),
);
const established = connections - handshaking;
await begin(dials, established);
// Last: the node does not wait long for them.
await begin(handshakes, handshaking);
// And some in the middle of their handshakes, and of their close.
for (const transport of TRANSPORTS) {
  for (let i = 0; i < AT_ONCE; i++) {
    void client.dial({ address, fingerprint }, "alknet/ping", { transports: [transport] }).then(
      (connection) => connection.close(),
      () => {},
    );
  }
}
process.send?.({ established, handshaking } satisfies PeersThere);
process.once("disconnect", () => process.exit());
