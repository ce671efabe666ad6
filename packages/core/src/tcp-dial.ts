/**
 * Dial one address over TCP and TLS.
 *
 * @module
 */

import net from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import type { OwnedAuthContext } from "./access.ts";
import { alpnList } from "./alpn-list.ts";
import type { Clock } from "./clock.ts";
import type { OwnedConnection } from "./connection.ts";
import { DialError } from "./dial-error.ts";
import { formatHostPort, type HostPort } from "./host.ts";
import { tcpConnection } from "./tcp-connection.ts";
import { clientContext, type TlsIdentity } from "./tls-context.ts";
import { type Expected, systemRoots, verifyServer } from "./verify.ts";

/**
 * A way to an address that is not this machine's own, such as a flow through another peer. The stream that it gives
 * is the dial's from then on, and has half-open ends.
 */
export type Connect = (to: HostPort, options: { signal: AbortSignal }) => Promise<Duplex>;

export interface TcpDialOptions {
  /** An IP address; with `connect`, whatever that takes. */
  readonly address: string;
  readonly port: number;
  readonly alpn: string;
  /** Name that the address was found by; sent as SNI. */
  readonly serverName: string | undefined;
  readonly expected: Expected;
  readonly identity: TlsIdentity | undefined;
  /** Who the server is, by its proven fingerprint. */
  readonly authenticate: (fingerprint: string) => OwnedAuthContext;
  /** @default by a socket of this machine */
  readonly connect?: Connect | undefined;
  readonly signal: AbortSignal;
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Connect. The connection has TLS complete and the server verified; whether the server takes us, it says
 * later (`accepted`).
 *
 * @throws {DialError | PeerKeyMismatch | PeerUnpinned | CertificateError}
 * @throws the reason of `signal`, when that aborts first.
 */
export async function dialTcp(options: TcpDialOptions): Promise<OwnedConnection> {
  const { address: host, port, alpn, serverName, expected, signal } = options;
  const { connect = connectSocket } = options;
  signal.throwIfAborted();
  const at = formatHostPort({ host, port });
  const offer = alpnList(alpn);
  const raw = await connect({ host, port }, { signal });
  if (signal.aborted) {
    raw.destroy();
    throw signal.reason as Error;
  }
  const socket = tls.connect({
    socket: raw,
    ALPNProtocols: offer,
    ...(serverName === undefined ? {} : { servername: serverName }),
    secureContext: contextFor(options),
    // Judged below, by the table of verify.ts.
    rejectUnauthorized: false,
    checkServerIdentity: expected.kind === "name" ? named(expected.host) : anybody,
  });
  const { promise, resolve, reject } = Promise.withResolvers<OwnedConnection>();
  let settled = false;
  const fail = (error: () => unknown): void => {
    if (settled) return;
    settled = true;
    reject((signal.aborted ? signal.reason : error()) as Error);
    abort();
  };
  const abort = (): void => {
    socket.destroy();
    raw.destroy();
  };
  signal.addEventListener("abort", abort, { once: true });
  raw.on("error", () => {});
  raw.on("close", () => fail(() => lost(at)));
  // Stays: something has to listen until the connection does, or the socket is gone.
  socket.on("error", (error) => fail(() => tlsError(error, alpn, at)));
  // At once, inside the event: the first byte or the end may be next.
  socket.on("secureConnect", () => {
    try {
      resolve(secured(socket, raw, at, options));
      settled = true;
    } catch (error) {
      fail(() => error);
    }
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Resolves inside the event, so that nothing has come of it yet. */
async function connectSocket(
  to: HostPort,
  { signal }: { signal: AbortSignal },
): Promise<net.Socket> {
  const raw = net.connect({
    ...to,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // Each direction ends by itself.
    allowHalfOpen: true,
  });
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>();
  const abort = (): void => {
    raw.destroy();
    reject(signal.reason as Error);
  };
  signal.addEventListener("abort", abort, { once: true });
  raw.once("connect", () => resolve(raw));
  raw.on("error", (error: NodeJS.ErrnoException) => {
    const text = `cannot reach ${formatHostPort(to)} over TCP: ${error.code ?? error.message}`;
    reject(new DialError("UNREACHABLE", text, { cause: error }));
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

type IdentityCheck = NonNullable<tls.ConnectionOptions["checkServerIdentity"]>;

function named(host: string): IdentityCheck {
  return (_asked, certificate) => tls.checkServerIdentity(host, certificate);
}

/** Known by its key. */
const anybody: IdentityCheck = () => undefined;

function secured(
  socket: tls.TLSSocket,
  raw: Duplex,
  at: string,
  options: TcpDialOptions,
): OwnedConnection {
  const { alpn, expected, serverName, drain, clock } = options;
  const certificate = socket.getPeerX509Certificate()?.raw;
  if (certificate === undefined) {
    throw new DialError("HANDSHAKE_FAILED", `cannot verify ${at}: it showed no certificate`);
  }
  const trusted = socket.authorized || String(socket.authorizationError);
  const fingerprint = verifyServer(expected, { certificate, raw: false, trusted, address: at });
  if (socket.alpnProtocol !== alpn) throw unknownAlpn(alpn, at);
  const auth = options.authenticate(fingerprint);
  return tcpConnection({
    side: "client",
    socket,
    raw,
    alpn,
    serverName,
    remoteAddress: at,
    auth,
    drain,
    clock,
  });
}

/** One configuration for each identity; those with the system's CAs apart, which take time to load. */
const contexts = new WeakMap<object, tls.SecureContext>();
const nobody = {};
const nobodyByName = {};

function contextFor({ identity, expected }: TcpDialOptions): tls.SecureContext {
  if (expected.kind === "name") {
    // Once per process for nobody; who shows a key to a server known by name alone is rare.
    if (identity !== undefined) return clientContext(identity, systemRoots());
    return remembered(nobodyByName, () => clientContext(undefined, systemRoots()));
  }
  return remembered(identity ?? nobody, () => clientContext(identity, []));
}

function remembered(key: object, make: () => tls.SecureContext): tls.SecureContext {
  let context = contexts.get(key);
  if (context === undefined) contexts.set(key, (context = make()));
  return context;
}

function tlsError(error: NodeJS.ErrnoException, alpn: string, at: string): Error {
  const { code = "" } = error;
  if (code === "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL") return unknownAlpn(alpn, at, error);
  const text = `cannot complete TLS with ${at}: ${error.message}`;
  // An alert is the peer's answer; anything else may be the path's.
  const final = code.startsWith("ERR_SSL_");
  return new DialError("HANDSHAKE_FAILED", text, { cause: error, final });
}

function unknownAlpn(alpn: string, at: string, cause?: Error): DialError {
  return new DialError("UNKNOWN_ALPN", `${at} does not serve ${JSON.stringify(alpn)}`, {
    cause,
    final: true,
  });
}

function lost(at: string): DialError {
  return new DialError("HANDSHAKE_FAILED", `${at} closed the TCP connection in the handshake`);
}
