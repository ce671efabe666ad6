/**
 * For tests of this package and of who builds on it: real TCP sockets, and a peer at a tunnel handler.
 *
 * @module
 */

import { once } from "node:events";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { mkdtemp, rm } from "node:fs/promises";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { type AuthContext, authenticate } from "@alknet/core/access";
import type { Connection, OwnedConnection } from "@alknet/core/connection";
import type { ProtocolHandler } from "@alknet/core/handler";
import type { Logger } from "@alknet/core/log";
import type { PeerEntry } from "@alknet/core/peers";
import { type StaticIdentities, staticIdentities } from "@alknet/core/static-identities";
import { type ConnectionPair, connectionPair } from "@alknet/core/testing";
import type { DialWithConnection } from "./open-flow.ts";
import { type Inbound, inbound } from "./inbound.ts";
import { type Outbound, outbound, type OutboundOptions } from "./outbound.ts";
import { ALPN, tunnel } from "./tunnel.ts";

/** Two ends of one TCP connection over loopback, both half-open, without Nagle delay. */
export interface SocketPair extends AsyncDisposable {
  readonly a: Socket;
  readonly b: Socket;
}

export async function socketPair(): Promise<SocketPair> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const to = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
  const a = connect({ ...to, allowHalfOpen: true, noDelay: true });
  const [[b]] = await Promise.all([
    once(server, "connection") as Promise<[Socket]>,
    once(a, "connect"),
  ]);
  // It stops listening now; its `close` comes after that of the sockets.
  server.close();
  // Tests that care listen as well; to the others an error is part of the game.
  for (const socket of [a, b]) socket.on("error", () => {});
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      for (const socket of [a, b]) {
        if (socket.closed) continue;
        const closed = once(socket, "close");
        socket.destroy();
        await closed;
      }
    },
  };
}

/** All that comes until the end. Unlike `node:stream/consumers`, leaves the other direction alone. */
export function readAll(stream: Duplex): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("end", () => resolve(Buffer.concat(chunks)));
    stream.once("error", reject);
    stream.once("close", () => reject(new Error("stream closed before its end")));
    stream.resume();
  });
}

/** A TCP server on loopback; disposing it ends its connections. */
export interface TcpServer extends AsyncDisposable {
  readonly server: Server;
  readonly to: { readonly host: string; readonly port: number };
}

/** Serve each connection with `serve`, half-open, without Nagle delay. */
export async function tcpServer(serve?: (socket: Socket) => void): Promise<TcpServer> {
  const { server, close } = await serverAt({ host: "127.0.0.1", port: 0 }, serve);
  return {
    server,
    to: { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    [Symbol.asyncDispose]: close,
  };
}

/** A server at a Unix socket, alone in its folder; disposing it ends its connections. */
export interface UnixServer extends AsyncDisposable {
  readonly folder: string;
  readonly path: string;
}

/** Serve each connection with `serve`, half-open. */
export async function unixServer(serve?: (socket: Socket) => void): Promise<UnixServer> {
  const folder = await mkdtemp(join(tmpdir(), "alknet-"));
  const path = join(folder, "s.sock");
  const { close } = await serverAt({ path }, serve);
  return {
    folder,
    path,
    async [Symbol.asyncDispose]() {
      await close();
      await rm(folder, { recursive: true });
    },
  };
}

async function serverAt(
  where: ListenOptions,
  serve?: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly close: () => Promise<void> }> {
  const live = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    live.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => live.delete(socket));
    serve?.(socket);
  });
  server.listen(where);
  await once(server, "listening");
  return {
    server,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of live) socket.destroy();
      await closed;
    },
  };
}

/** A UDP server on loopback. */
export interface UdpServer extends AsyncDisposable {
  readonly socket: UdpSocket;
  readonly to: { readonly host: string; readonly port: number };
}

/** Have `serve` take each packet; it answers with `reply`. */
export async function udpServer(
  serve: (packet: Buffer, reply: (packet: Uint8Array) => void) => void,
): Promise<UdpServer> {
  const socket = createSocket("udp4");
  socket.on("message", (packet, from) => {
    serve(packet, (answer) => socket.send(answer, from.port, from.address));
  });
  socket.bind({ address: "127.0.0.1", port: 0 });
  await once(socket, "listening");
  return {
    socket,
    to: { host: "127.0.0.1", port: socket.address().port },
    async [Symbol.asyncDispose]() {
      const closed = once(socket, "close");
      socket.close();
      await closed;
    },
  };
}

export interface LogLine {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

/** A peer called `laptop`, connected in memory to a tunnel handler, and what lies behind it. */
export interface TunnelPair extends AsyncDisposable {
  readonly handler: ProtocolHandler;
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  readonly client: OwnedConnection;
  readonly server: OwnedConnection;
  /** Dials over `client`. */
  readonly dial: DialWithConnection;
  /** What the handler's work on `server` comes to. */
  readonly served: Promise<void>;
  readonly log: readonly LogLine[];
  /** Another connection of the same peer; the handler does not serve it yet. */
  connect(): ConnectionPair;
  /** Give the peer these rights, and no other. */
  rights(...scopes: readonly string[]): void;
}

/** Key of the peer in tests. */
const TEST_KEY = `ed25519:${"a".repeat(64)}`;

/** The rights of a peer called `laptop`. */
export interface TestPeer {
  readonly auth: AuthContext;
  readonly identities: StaticIdentities;
  /** Give the peer these rights, and no other. */
  readonly rights: (...scopes: readonly string[]) => void;
}

export function testPeer(...scopes: readonly string[]): TestPeer {
  const entry = (scopes: readonly string[]): PeerEntry[] => [
    { peerId: "laptop", fingerprints: [TEST_KEY], scopes, enabled: true },
  ];
  const identities = staticIdentities(entry(scopes));
  return {
    identities,
    auth: authenticate(identities, { kind: "fingerprint", fingerprint: TEST_KEY }),
    rights: (...scopes) => void identities.replace(entry(scopes)),
  };
}

export function tunnelPair(
  scopes: readonly string[],
  options: OutboundOptions & { multiplexed?: boolean | undefined } = {},
): TunnelPair {
  const { identities, rights } = testPeer(...scopes);
  const { log, logger } = memoryLog();
  const out = outbound(options);
  const into = inbound();
  const handler = tunnel({ logger, outbound: out, inbound: into, clock: options.clock });
  const connect = () =>
    connectionPair({
      alpn: ALPN,
      multiplexed: options.multiplexed,
      auth: { server: { identities, fingerprint: TEST_KEY } },
    });
  const pair = connect();
  const served = handler.handle(pair.server);
  return {
    handler,
    outbound: out,
    inbound: into,
    client: pair.client,
    server: pair.server,
    dial: dialOver(pair.client),
    served,
    log,
    connect,
    rights,
    async [Symbol.asyncDispose]() {
      await pair[Symbol.asyncDispose]();
      await served;
    },
  };
}

/** Streams of one connection, as a dialer would give them. */
export function dialOver(connection: Connection): DialWithConnection {
  return async ({ signal }) => ({
    stream: await connection.open({ signal }),
    connection,
    multiplexed: connection.multiplexed,
  });
}

/** A logger that keeps its lines. */
export function memoryLog(): { readonly log: LogLine[]; readonly logger: Logger } {
  const log: LogLine[] = [];
  const at = (level: string) => (fields: object, message: string) => {
    log.push({ level, fields, message });
  };
  return {
    log,
    logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") },
  };
}
