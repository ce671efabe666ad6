/**
 * The ends of the QUIC benches: who runs, with which keys, and with the same settings for all.
 *
 * @module
 */

import type { Identity, Pki } from "./pki.ts";
import { startRust } from "./rust-peer.ts";
import { startNode, type Timed, type Worker } from "./worker.ts";

/** Which of our interfaces a process uses. */
export type Api = "raw" | "duplex";

/** Settings that both sides of a comparison share. */
export interface Transport {
  /** Upper bound of MTU discovery. @default 1452, quinn's own and ours */
  mtu?: number | undefined;
  /** Streams the other side may have open. @default 100, quinn's own */
  streams?: number | undefined;
  /** Idle time in milliseconds. @default 30_000 */
  idle?: number | undefined;
  /** Keep-alive interval in milliseconds, while a stream is open; 0: none. @default 0, quinn's own */
  keepAlive?: number | undefined;
}

/** A server and a client in two processes. */
export interface Ends extends AsyncDisposable {
  server: Worker;
  client: Worker;
}

const WORKER = new URL("quic-worker.ts", import.meta.url);

/** Our engine, in two Node processes. */
export async function ourEnds(pki: Pki, api: Api, transport: Transport = {}): Promise<Ends> {
  const common = [`api=${api}`, ...transportWords(transport)];
  const server = await startNode(WORKER, ["server", ...identityWords(pki.server), ...common]);
  const dialing = [`peer=${pki.server.certificateFile}`, `to=${server.ready}`];
  const client = await startNode(WORKER, [
    "client",
    ...identityWords(pki.client),
    ...dialing,
    ...common,
  ]);
  return ends(server, client);
}

/** Our engine, both ends in one Node process. */
export function ourProcess(pki: Pki, api: Api, transport: Transport = {}): Promise<Worker> {
  return startNode(WORKER, [
    "both",
    ...identityWords(pki.server),
    ...identityWords(pki.client, "client-"),
    `peer=${pki.server.certificateFile}`,
    `api=${api}`,
    ...transportWords(transport),
  ]);
}

/** Pure Rust, in two processes. */
export async function rustEnds(pki: Pki, transport: Transport = {}): Promise<Ends> {
  const common = transportWords(transport);
  const server = await startRust(["quic-server", ...identityWords(pki.server), ...common]);
  const dialing = [`peer=${pki.server.certificateFile}`, `to=${server.ready}`];
  const client = await startRust([
    "quic-client",
    ...identityWords(pki.client),
    ...dialing,
    ...common,
  ]);
  return ends(server, client);
}

/** Socket buffers: with the kernel's default of 208 KiB bulk loses packets on either side. */
const BUFFER = 4 * 2 ** 20;

function ends(server: Worker, client: Worker): Ends {
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function identityWords(identity: Identity, prefix = ""): string[] {
  return [`${prefix}certificate=${identity.certificateFile}`, `${prefix}key=${identity.keyFile}`];
}

function transportWords({
  mtu = 1_452,
  streams = 100,
  idle = 30_000,
  keepAlive = 0,
}: Transport): string[] {
  const words = { buffer: BUFFER, mtu, streams, idle, keepalive: keepAlive };
  return Object.entries(words).map(([name, value]) => `${name}=${value}`);
}

// ---- what is measured

/** Megabytes (10^6 bytes) per second. */
export async function bulkRate(client: Worker, bytes: number): Promise<number> {
  const { seconds } = await client.ask<Timed>(`bulk bytes=${bytes}`);
  return bytes / 1e6 / seconds;
}

/** Requests per second. */
export async function requestRate(
  client: Worker,
  count: number,
  parallel: number,
): Promise<number> {
  const { seconds } = await client.ask<Timed>(`requests count=${count} parallel=${parallel}`);
  return (Math.floor(count / parallel) * parallel) / seconds;
}

/** Handshakes per second; every one of them must have reached the server with its certificate. */
export async function handshakeRate(
  { client, server }: Ends,
  count: number,
  parallel: number,
): Promise<number> {
  const whole = Math.floor(count / parallel) * parallel;
  const before = await server.ask<{ connections: number }>("stats");
  const { seconds } = await client.ask<Timed>(`handshakes count=${count} parallel=${parallel}`);
  // The last closes may still be on their way.
  let after = await server.ask<{ connections: number; open: number }>("stats");
  for (let look = 0; after.connections < before.connections + whole && look < 200; look += 1) {
    after = await server.ask("stats");
  }
  const proved = after.connections - before.connections;
  if (proved !== whole) {
    throw new Error(
      `the server counted ${proved} connections with a certificate, expected ${whole}`,
    );
  }
  return whole / seconds;
}
