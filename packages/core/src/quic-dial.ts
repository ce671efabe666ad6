/**
 * Dial one address over QUIC.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { describe, type QuicCloseReason, QuicConnectionClosed } from "@alknet/quic/close-reason";
import type { QuicConnection } from "@alknet/quic/connection";
import type { QuicEndpoint } from "@alknet/quic/endpoint";
import { type ServerVerification, TlsClientConfig } from "@alknet/quic/tls";
import type { OwnedAuthContext } from "./access.ts";
import type { Clock } from "./clock.ts";
import { ConnectionClosed, type OwnedConnection } from "./connection.ts";
import { DialError } from "./dial-error.ts";
import { formatHostPort } from "./host.ts";
import type { NodeIdentity } from "./identity-file.ts";
import { closeReasonOf, quicConnection } from "./quic-connection.ts";
import { NO_APPLICATION_PROTOCOL } from "./tls-server.ts";
import { type Expected, systemRoots, verifyServer } from "./verify.ts";

export interface QuicDialOptions {
  readonly endpoint: QuicEndpoint;
  /** An IP address. */
  readonly address: string;
  readonly port: number;
  readonly alpn: string;
  /** Name that the address was found by; sent as SNI. */
  readonly serverName: string | undefined;
  readonly expected: Expected;
  readonly identity: NodeIdentity | undefined;
  /** Who the server is, by its proven fingerprint. */
  readonly authenticate: (fingerprint: string) => OwnedAuthContext;
  readonly signal: AbortSignal;
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Connect. The connection has its handshake complete and the server verified; whether the server takes
 * us, it says later (`accepted`).
 *
 * @throws {DialError | PeerKeyMismatch | PeerUnpinned | CertificateError | ConnectionClosed}
 * @throws the reason of `signal`, when that aborts first.
 */
export async function dialQuic(options: QuicDialOptions): Promise<OwnedConnection> {
  const { alpn, expected, identity, serverName, drain, clock } = options;
  const at = formatHostPort({ host: options.address, port: options.port });
  let connection: QuicConnection;
  try {
    connection = await connect(options, tlsFor(alpn, expected, identity));
  } catch (error) {
    if (!(error instanceof QuicConnectionClosed)) throw error;
    const { closeReason } = error;
    // Only CAs are asked inside the handshake: keys are compared here, where what was shown can be named.
    const distrusted = closeReason.kind === "transport" && closeReason.by === "local";
    if (expected.kind === "name" && distrusted && closeReason.alert !== undefined) {
      throw await unpinned(options, at, describe(closeReason));
    }
    throw dialError(closeReason, alpn, at, error);
  }
  try {
    const fingerprint = judge(connection, expected, true, at);
    const auth = options.authenticate(fingerprint);
    return quicConnection({ side: "client", connection, serverName, auth, drain, clock });
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function connect(options: QuicDialOptions, tls: TlsClientConfig): Promise<QuicConnection> {
  const { endpoint, address, port, serverName, signal } = options;
  return await endpoint.connect({
    address,
    port,
    tls,
    signal,
    ...(serverName === undefined ? {} : { serverName }),
  });
}

function judge(
  { peerCertificate, peerCertificateType }: QuicConnection,
  expected: Expected,
  trusted: true | string,
  at: string,
): string {
  if (peerCertificate === undefined) {
    throw new DialError("HANDSHAKE_FAILED", `cannot verify ${at}: it showed no certificate`);
  }
  const raw = peerCertificateType === "raw";
  return verifyServer(expected, { certificate: peerCertificate, raw, trusted, address: at });
}

/** No CA vouches for the server: ask it once more, as nobody, what it shows, to name that. */
async function unpinned(options: QuicDialOptions, at: string, why: string): Promise<Error> {
  try {
    const asNobody = tlsFor(options.alpn, { kind: "unknown" }, undefined);
    const connection = await connect(options, asNobody);
    connection.close();
    judge(connection, options.expected, why, at);
  } catch (error) {
    return error as Error;
  }
  return new DialError("HANDSHAKE_FAILED", `cannot complete TLS with ${at}: ${why}`);
}

/** TLS settings are the same for all dials with one identity and ALPN; so many of them are kept. */
const MAX_KEPT = 64;
const kept = new WeakMap<object, Map<string, TlsClientConfig>>();
const nobody = {};

function tlsFor(
  alpn: string,
  expected: Expected,
  identity: NodeIdentity | undefined,
): TlsClientConfig {
  const byName = expected.kind === "name";
  const key = `${byName} ${alpn}`;
  let configs = kept.get(identity ?? nobody);
  if (configs === undefined) kept.set(identity ?? nobody, (configs = new Map()));
  let config = configs.get(key);
  if (config === undefined) {
    // A key that is pinned is compared once the handshake is done, as over TCP. The server has seen our
    // certificate by then, there as here; it has proved its own key, and gets not a byte.
    const verify: ServerVerification = byName
      ? { roots: systemRootsDer() }
      : { dangerouslyAcceptAny: true };
    const own =
      identity === undefined
        ? {}
        : { certificates: [identity.certificate], privateKey: identity.privateKeyDer };
    config = new TlsClientConfig({ alpn: [alpn], verify, ...own });
    if (configs.size === MAX_KEPT) configs.delete(configs.keys().next().value!);
    configs.set(key, config);
  }
  return config;
}

let rootsDer: Uint8Array[] | undefined;

function systemRootsDer(): Uint8Array[] {
  return (rootsDer ??= systemRoots().map((pem) => new X509Certificate(pem).raw));
}

function dialError(
  reason: QuicCloseReason,
  alpn: string,
  at: string,
  cause: QuicConnectionClosed,
): Error {
  const why = describe(reason);
  switch (reason.kind) {
    case "application":
      // It has judged us already.
      return new ConnectionClosed(closeReasonOf(reason), { cause });
    case "transport": {
      if (reason.alert === NO_APPLICATION_PROTOCOL && reason.by === "peer") {
        const text = `${at} does not serve ${JSON.stringify(alpn)}`;
        return new DialError("UNKNOWN_ALPN", text, { cause, final: true });
      }
      const CONNECTION_REFUSED = 2;
      if (reason.by === "peer" && reason.code === CONNECTION_REFUSED) {
        const text = `${at} takes no connection from here now`;
        return new DialError("REFUSED", text, { cause, final: true });
      }
      const text = `cannot complete the handshake with ${at}: ${why}`;
      // An alert is the peer's answer; anything else may be the path's.
      return new DialError("HANDSHAKE_FAILED", text, { cause, final: reason.alert !== undefined });
    }
    case "timeout":
      return new DialError("HANDSHAKE_TIMEOUT", `no answer from ${at} over QUIC: ${why}`, {
        cause,
      });
    case "reset":
    case "version":
    case "dropped":
    case "internal":
      return new DialError("UNREACHABLE", `cannot reach ${at} over QUIC: ${why}`, { cause });
  }
}
