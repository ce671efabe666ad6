/**
 * Dial one address over TCP and TLS.
 *
 * @module
 */

import net from "node:net";
import tls from "node:tls";
import type { OwnedAuthContext } from "./access.ts";
import { alpnList } from "./alpn-list.ts";
import type { Clock } from "./clock.ts";
import type { OwnedConnection } from "./connection.ts";
import { DialError } from "./dial-error.ts";
import { formatHostPort } from "./host.ts";
import { tcpConnection } from "./tcp-connection.ts";
import { clientContext, type TlsIdentity } from "./tls-context.ts";
import { type Expected, systemRoots, verifyServer } from "./verify.ts";

export interface TcpDialOptions {
  /** An IP address. */
  readonly address: string;
  readonly port: number;
  readonly alpn: string;
  /** Name that the address was found by; sent as SNI. */
  readonly serverName: string | undefined;
  readonly expected: Expected;
  readonly identity: TlsIdentity | undefined;
  /** Who the server is, by its proven fingerprint. */
  readonly authenticate: (fingerprint: string) => OwnedAuthContext;
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
  const { address, port, alpn, serverName, expected, signal } = options;
  signal.throwIfAborted();
  const at = formatHostPort({ host: address, port });
  const offer = alpnList(alpn);
  const raw = net.connect({
    host: address,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // Each direction ends by itself.
    allowHalfOpen: true,
  });
  let socket: tls.TLSSocket | undefined;
  const abort = (): void => {
    socket?.destroy();
    raw.destroy();
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await new Promise<OwnedConnection>((resolve, reject) => {
      let settled = false;
      const fail = (error: () => unknown): void => {
        if (settled) return;
        settled = true;
        reject((signal.aborted ? signal.reason : error()) as Error);
        abort();
      };
      const onrawerror = (error: NodeJS.ErrnoException): void => {
        if (socket !== undefined) return;
        const text = `cannot reach ${at} over TCP: ${error.code ?? error.message}`;
        fail(() => new DialError("UNREACHABLE", text, { cause: error }));
      };
      raw.on("error", onrawerror);
      raw.on("close", () => fail(() => lost(at)));
      raw.on("connect", () => {
        const secure = tls.connect({
          socket: raw,
          ALPNProtocols: offer,
          ...(serverName === undefined ? {} : { servername: serverName }),
          secureContext: contextFor(options),
          // Judged below, by the table of verify.ts.
          rejectUnauthorized: false,
          checkServerIdentity: expected.kind === "name" ? named(expected.host) : anybody,
        });
        socket = secure;
        // Stays: something has to listen until the connection does, or the socket is gone.
        secure.on("error", (error) => fail(() => tlsError(error, alpn, at)));
        // At once, inside the event: the first byte or the end may be next.
        secure.on("secureConnect", () => {
          try {
            resolve(secured(secure, raw, at, options));
            settled = true;
          } catch (error) {
            fail(() => error);
          }
        });
      });
    });
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
  raw: net.Socket,
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
