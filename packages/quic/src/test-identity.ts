/**
 * Identities for the tests of this package, and endpoints that use them. Not published.
 *
 * @module
 */

import { generateKeyPairSync, type KeyObject } from "node:crypto";
import type { QuicConnection } from "./connection.ts";
import { bind, type QuicEndpoint } from "./endpoint.ts";
import type { ConnectOptions, EndpointOptions } from "./endpoint-options.ts";
import type { ServerOptions } from "./handshake.ts";
import { type SelfSigned, selfSigned } from "./self-signed.ts";
import {
  TlsClientConfig,
  type TlsClientOptions,
  TlsServerConfig,
  type TlsServerOptions,
} from "./tls.ts";

/** The same in every process of a test. */
export const SERVER: SelfSigned = selfSigned({ names: ["server.test"], privateKey: ed25519(1) });
export const CLIENT: SelfSigned = selfSigned({ names: ["client.test"], privateKey: ed25519(2) });
export const LOOPBACK = "127.0.0.1";
export const ALPN = "test";

/** PKCS #8 of a key whose 32 bytes are all `seed` (RFC 8410 §7). */
function ed25519(seed: number): Buffer {
  const head = Buffer.from("302e020100300506032b657004220420", "hex");
  return Buffer.concat([head, Buffer.alloc(32, seed)]);
}

/** `newKey("ec")` is P-256. */
export function newKey(type: "ed25519" | "ec" | "rsa"): KeyObject {
  switch (type) {
    case "ed25519":
      return generateKeyPairSync("ed25519").privateKey;
    case "ec":
      return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    case "rsa":
      return generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  }
}

/** The DER of a key, as configurations take it. */
export function pkcs8(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "pkcs8" });
}

export function serverTls(options: Partial<TlsServerOptions> = {}): TlsServerConfig {
  return new TlsServerConfig({
    certificates: [SERVER.certificate],
    privateKey: SERVER.privateKey,
    clientCertificate: "request",
    ...options,
  });
}

/** A client that shows `CLIENT` and pins `SERVER`. */
export function clientTls(options: Partial<TlsClientOptions> = {}): TlsClientConfig {
  return new TlsClientConfig({
    alpn: [ALPN],
    verify: { publicKeys: [SERVER.publicKey] },
    certificates: [CLIENT.certificate],
    privateKey: CLIENT.privateKey,
    ...options,
  });
}

/** Serves whatever ALPN comes first, on loopback. */
export function serve(
  options: Omit<EndpointOptions, "server"> & { server?: Partial<ServerOptions> } = {},
): QuicEndpoint {
  const tls = serverTls();
  return bind({
    address: LOOPBACK,
    ...options,
    server: {
      configure: ({ alpn }) => (alpn[0] === undefined ? { alert: 120 } : { tls, alpn: alpn[0] }),
      ...options.server,
    },
  });
}

/** Dial `server` on loopback. */
export function dial(
  client: QuicEndpoint,
  server: QuicEndpoint,
  options: Partial<ConnectOptions> = {},
): Promise<QuicConnection> {
  return client.connect({
    address: LOOPBACK,
    port: server.address.port,
    tls: clientTls(),
    ...options,
  });
}

/** Two endpoints and a connection between them, from both sides. */
export interface Pair extends AsyncDisposable {
  server: QuicEndpoint;
  client: QuicEndpoint;
  /** The dialing side of the connection. */
  near: QuicConnection;
  /** The serving side. */
  far: QuicConnection;
}

export interface PairOptions {
  server?: Parameters<typeof serve>[0] | undefined;
  client?: EndpointOptions | undefined;
  connect?: Partial<ConnectOptions> | undefined;
}

export async function pair(options: PairOptions = {}): Promise<Pair> {
  const server = serve(options.server);
  const client = bind({ address: LOOPBACK, ...options.client });
  const [near, far] = await Promise.all([dial(client, server, options.connect), server.accept()]);
  if (far === undefined) throw new Error("the server was closed");
  return {
    server,
    client,
    near,
    far,
    async [Symbol.asyncDispose]() {
      await Promise.all([client.close(), server.close()]);
    },
  };
}
