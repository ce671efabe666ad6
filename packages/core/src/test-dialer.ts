/**
 * For tests of this package: a node on loopback that echoes, and a dialer of alice's, whom it knows.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { bind } from "@alknet/quic/endpoint";
import { createDialer, type Dialer, type DialerOptions } from "./dialer.ts";
import { createEndpoint, type Endpoint, type EndpointOptions } from "./endpoint.ts";
import type { ProtocolHandler } from "./handler.ts";
import { createIdentity, type NodeIdentity } from "./identity-file.ts";
import { resetCodeOf } from "./quic-connection.ts";
import { staticIdentities } from "./static-identities.ts";
import { LOOPBACK } from "./test-paths.ts";

export const node: NodeIdentity = createIdentity();

export const alice: NodeIdentity = createIdentity();

/** Sends back what comes, on every stream. */
export const echo: ProtocolHandler = {
  alpns: ["alknet/echo"],
  access: "peers",
  tls: "node",
  async handle(connection) {
    for (;;) {
      const stream = await connection.accept();
      if (stream === undefined) return;
      void pipeline(stream, stream).catch(() => {});
    }
  },
};

export async function serve(
  options: Partial<EndpointOptions> = {},
): Promise<Endpoint & { port: number }> {
  const endpoint = await createEndpoint({
    identity: node,
    identities: staticIdentities([
      { peerId: "alice", fingerprints: [alice.fingerprint], scopes: [], enabled: true },
    ]),
    handlers: [echo],
    listen: [`${LOOPBACK}:0`],
    limits: { exempt: ["127.0.0.0/8"] },
    drain: 500,
    ...options,
  });
  return Object.assign(endpoint, { port: endpoint.addresses[0]!.port });
}

export function dialer(options: Partial<DialerOptions> = {}): Dialer {
  return createDialer({
    identity: alice,
    identities: staticIdentities([]),
    bind: () => bind({ address: LOOPBACK, resetCodeOf }),
    drain: 500,
    ...options,
  });
}

export function target(port: number, host: string = LOOPBACK): string {
  return `${node.fingerprint}@${host}:${port}`;
}

export async function readAll(stream: Duplex): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

export async function ask(stream: Duplex, text: string): Promise<string> {
  stream.end(text);
  return await readAll(stream);
}

/** Many turns of the loop: what was started gets as far as it can without more time. */
export async function settle(turns: number = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}
