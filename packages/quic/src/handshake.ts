/**
 * What a server decides of each handshake: whether to go on with it, and with which certificate and protocol.
 *
 * The engine asks in the middle of its own work: nothing may be thrown into it, and nothing is swallowed.
 *
 * @module
 */

import type { QuicCloseReason } from "./close-reason.ts";
import type { QuicConnection } from "./connection.ts";
import { serverTlsId, type TlsServerConfig } from "./tls.ts";

/** Where a datagram came from. Information: only a validated address was proved to receive there. */
export interface Source {
  address: string;
  port: number;
  /** The client showed a token of ours (Retry, RFC 9000 §8.1). */
  validated: boolean;
}

/**
 * What to do with a first packet: go on with the handshake, make the client prove its address, close, or
 * say nothing. `retry` of a client that did it already refuses it.
 */
export type Admission = "accept" | "retry" | "refuse" | "ignore";

/** What the complete ClientHello asks for. */
export interface ClientHello {
  /** Protocol names in the client's order, bytes as Latin-1; at most 64. */
  alpn: readonly string[];
  /** SNI, as sent: anything at all. */
  serverName: string | undefined;
  source: Source;
}

/** TLS settings and the one name to select, which must be among those offered; or a TLS alert (RFC 8446 §6). */
export type Configuration = { tls: TlsServerConfig; alpn: string } | { alert: number };

/** An admitted handshake that ended without a connection. */
export interface HandshakeFailure {
  /** The number that `admit` had. */
  handshake: number;
  /** `validated` also when the client answered our handshake, which proves its address. */
  source: Source;
  reason: QuicCloseReason;
}

export interface ServerOptions {
  /**
   * Decide at the first packet, before any costly work. Synchronous; must not use the endpoint, but for
   * `dropHandshake`. `handshake` numbers what is admitted.
   * @default everybody is accepted
   */
  admit?: ((source: Source, handshake: number) => Admission) | undefined;
  /**
   * Decide at the complete ClientHello. Synchronous; must not use the endpoint. What it throws becomes
   * the alert `internal_error` and an uncaught exception.
   */
  configure: (hello: ClientHello) => Configuration;
  handshakeFailed?: ((failure: HandshakeFailure) => void) | undefined;
  /**
   * Takes connections as they become ready, their client certificates proved.
   * @default they wait for `accept()`, at most 1,024 of them
   */
  connection?: ((connection: QuicConnection) => void) | undefined;
}

/** As the engine has them. */
const ADMISSIONS = { accept: 0, retry: 1, refuse: 2, ignore: 3 } as const;
const INTERNAL_ERROR = 80;

/** What `server` says to a first packet, as the engine has it. */
export function admit(
  server: ServerOptions | undefined,
  source: Source,
  handshake: number,
): number {
  if (server?.admit === undefined) return ADMISSIONS.accept;
  try {
    const answer = server.admit(source, handshake);
    if (Object.hasOwn(ADMISSIONS, answer)) return ADMISSIONS[answer];
    throw new TypeError(
      `cannot admit: expected accept, retry, refuse or ignore, got ${JSON.stringify(answer)}`,
    );
  } catch (error) {
    rethrowLater(error);
    return ADMISSIONS.refuse;
  }
}

/** What `server` says to a ClientHello: the engine reads `tls · 4096 + index of the name`, or `-(alert + 1)`. */
export function configure(server: ServerOptions | undefined, hello: ClientHello): number {
  try {
    const answer = server?.configure(hello) ?? { alert: INTERNAL_ERROR };
    if ("alert" in answer) return -(answer.alert + 1);
    const index = hello.alpn.indexOf(answer.alpn);
    if (index < 0) {
      throw new RangeError(
        `cannot select ALPN ${JSON.stringify(answer.alpn)}: the client offers ${JSON.stringify(hello.alpn)}`,
      );
    }
    return serverTlsId(answer.tls) * 4096 + index;
  } catch (error) {
    rethrowLater(error);
    return -(INTERNAL_ERROR + 1);
  }
}

/** Inside the engine nothing may be thrown, and nothing must be swallowed. */
export function rethrowLater(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
