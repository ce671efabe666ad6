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
import type { TransportOptions } from "@alknet/quic/transport-options";
import type { OwnedAuthContext } from "./access.ts";
import type { Clock } from "./clock.ts";
import { ConnectionClosed, type OwnedConnection } from "./connection.ts";
import { DialError } from "./dial-error.ts";
import { fingerprintBytes, parseFingerprint } from "./fingerprint.ts";
import { formatHostPort } from "./host.ts";
import type { NodeIdentity } from "./identity-file.ts";
import { closeReasonOf, gaveUpHandshake, quicConnection, TOO_SLOW } from "./quic-connection.ts";
import { NO_APPLICATION_PROTOCOL } from "./tls-server.ts";
import { type Expected, systemRoots, verifyServer } from "./verify.ts";

export interface QuicDialOptions {
  readonly endpoint: QuicEndpoint;
  /** @default that of the endpoint */
  readonly transport?: TransportOptions | undefined;
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
    if (isDistrust(closeReason, expected)) throw await distrusted(options, at, closeReason);
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
  const { endpoint, address, port, serverName, signal, transport } = options;
  return await endpoint.connect({ address, port, tls, signal, serverName, transport });
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

/** Whether it was us who ended the handshake, for what the server showed. */
function isDistrust(reason: QuicCloseReason, expected: Expected): boolean {
  if (reason.kind !== "transport" || reason.by !== "local") return false;
  const ACCESS_DENIED = 49;
  if (expected.kind === "pinned") return reason.alert === ACCESS_DENIED;
  return expected.kind === "name" && reason.alert !== undefined;
}

/**
 * The handshake ended because the server showed another key than the one that is pinned, or no CA vouches
 * for it. It has not seen who we are. Ask it once more, as nobody, what it shows, to name that; and this
 * time it has to prove it.
 */
async function distrusted(
  options: QuicDialOptions,
  at: string,
  reason: QuicCloseReason,
): Promise<Error> {
  const { alpn, expected } = options;
  const why = expected.kind === "pinned" ? "it showed another key" : describe(reason);
  const text = `cannot complete TLS with ${at}: ${why}`;
  let connection: QuicConnection;
  try {
    connection = await connect(options, tlsFor(alpn, { kind: "unknown" }, undefined));
  } catch (error) {
    if (!(error instanceof QuicConnectionClosed)) return error as Error;
    return new DialError("HANDSHAKE_FAILED", text, { cause: error, final: true });
  }
  connection.close();
  try {
    judge(connection, expected, why, at);
  } catch (error) {
    return error as Error;
  }
  return new DialError("HANDSHAKE_FAILED", text, { final: true });
}

/** TLS settings are the same for all dials with one identity, ALPN and pin; so many of them are kept. */
const MAX_KEPT = 256;
const kept = new WeakMap<object, Map<string, TlsClientConfig>>();
const nobody = {};

function tlsFor(
  alpn: string,
  expected: Expected,
  identity: NodeIdentity | undefined,
): TlsClientConfig {
  const key = `${alpn} ${expected.kind} ${expected.kind === "pinned" ? expected.fingerprints.join() : ""}`;
  let configs = kept.get(identity ?? nobody);
  if (configs === undefined) kept.set(identity ?? nobody, (configs = new Map()));
  let config = configs.get(key);
  if (config === undefined) {
    const own =
      identity === undefined
        ? {}
        : { certificates: [identity.certificate], privateKey: identity.privateKeyDer };
    config = new TlsClientConfig({ alpn: [alpn], verify: verificationOf(expected), ...own });
    if (configs.size === MAX_KEPT) configs.delete(configs.keys().next().value!);
    configs.set(key, config);
  }
  return config;
}

/**
 * What TLS itself insists on. An impostor gets no further than its own certificate: it does not learn who
 * dials. A pin that is no Ed25519 key is compared when the handshake is done, as all are over TCP.
 */
function verificationOf(expected: Expected): ServerVerification {
  switch (expected.kind) {
    case "name":
      return { roots: systemRootsDer() };
    case "pinned": {
      const pins = expected.fingerprints.map((text) => fingerprintBytes(parseFingerprint(text)));
      if (pins.some(({ kind }) => kind !== "ed25519")) return { dangerouslyAcceptAny: true };
      return { publicKeys: pins.map(({ bytes }) => bytes) };
    }
    case "unknown":
      // Nobody will do; but the handshake has to come far enough to say whom it met.
      return { dangerouslyAcceptAny: true };
  }
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
      if (gaveUpHandshake(reason)) {
        return new DialError("HANDSHAKE_TIMEOUT", `${at} gave up the handshake: ${TOO_SLOW}`, {
          cause,
        });
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
    case "unreachable":
    case "version":
    case "dropped":
    case "internal":
      return new DialError("UNREACHABLE", `cannot reach ${at} over QUIC: ${why}`, { cause });
  }
}
