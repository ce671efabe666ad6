/**
 * The ends of the TCP benches: our endpoint and dialer, and bare `node:tls`, with the same keys.
 *
 * @module
 */

import type { Pki } from "./pki.ts";
import { startNode, type Timed, type Worker } from "./worker.ts";

export interface TcpEnds extends AsyncDisposable {
  server: Worker;
  client: Worker;
}

const CORE = new URL("core-worker.ts", import.meta.url);
const BARE = new URL("peers/node-tls.ts", import.meta.url);

/** Through endpoint, router and dialer, over TCP. */
export function coreEnds(pki: Pki): Promise<TcpEnds> {
  return start(CORE, pki, [`client=${pki.client.certificateFile}`]);
}

export function bareEnds(pki: Pki): Promise<TcpEnds> {
  return start(BARE, pki, []);
}

export function barePeerName(): string {
  return `bare node:tls, Node ${process.versions.node}`;
}

async function start(file: URL, pki: Pki, forServer: readonly string[]): Promise<TcpEnds> {
  const words = ({ certificateFile, keyFile }: Pki["server"]): string[] => [
    `certificate=${certificateFile}`,
    `key=${keyFile}`,
  ];
  const server = await startNode(file, ["server", ...words(pki.server), ...forServer]);
  const dialing = [`peer=${pki.server.certificateFile}`, `to=${server.ready}`];
  const client = await startNode(file, ["client", ...words(pki.client), ...dialing]);
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Handshakes per second up to the server's first byte; the server must have counted all of them. */
export async function tcpHandshakeRate(
  { client, server }: TcpEnds,
  count: number,
  parallel: number,
): Promise<number> {
  const before = await server.ask<{ connections: number }>("counts");
  const { seconds } = await client.ask<Timed>(`handshakes count=${count} parallel=${parallel}`);
  const after = await server.ask<{ connections: number }>("counts");
  const whole = Math.floor(count / parallel) * parallel;
  const served = after.connections - before.connections;
  if (served !== whole) throw new Error(`the server counted ${served} connections of ${whole}`);
  return whole / seconds;
}
