/**
 * `Connection`: what a handler is given. The same on QUIC, TCP+TLS, a Unix socket and in memory.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { AuthContext, Credential } from "./access.ts";
import type { Penalty } from "./limit-values.ts";

export type Transport = "quic" | "tcp" | "memory" | "unix";

/** Why a connection ended. Every connection ends with exactly one. */
export interface CloseReason {
  /** Who ended it: this side, the peer, or the transport beneath (time-out, loss, TLS alert). */
  readonly by: "local" | "peer" | "transport";
  /** Number sent or received (see `CloseCode`); `undefined` where the transport carries none. */
  readonly code: number | undefined;
  /**
   * Stable name: one of `CloseCode`, or `TIMEOUT`, `RESET` (the peer lost its state, or is gone),
   * `REFUSED` (before the handshake), `HANDSHAKE_TIMEOUT` (the peer's side of it took too long), `TLS`,
   * `TRANSPORT`, `CUT` (an end or a reset of TCP that says nothing), `UNKNOWN` (a code that is not ours).
   */
  readonly name: string;
  /** Text for people. The peer's own words are not trusted: cut at 256 bytes, without control characters. */
  readonly reason: string;
}

/** The connection ended under an operation. `code` is the reason's name. */
export class ConnectionClosed extends Error {
  override readonly name = "ConnectionClosed";
  readonly code: string;
  readonly reason: CloseReason;

  constructor(reason: CloseReason, options?: ErrorOptions) {
    const text = reason.reason === "" ? "" : `: ${reason.reason}`;
    super(`connection closed by ${reason.by} (${reason.name}${text})`, options);
    this.code = reason.name;
    this.reason = reason;
  }
}

/** The peer reset this stream, or stopped reading it (QUIC, memory; then only writes fail). */
export class StreamReset extends Error {
  override readonly name = "StreamReset";
  readonly code = "STREAM_RESET";
  /** The peer's number (see `CloseCode` for ours). */
  readonly resetCode: number;

  constructor(resetCode: number, options?: ErrorOptions) {
    super(`stream reset by the peer with code ${resetCode}`, options);
    this.resetCode = resetCode;
  }
}

/** A stream was wanted of a connection that has no more to give: one of TCP has exactly one. */
export class StreamLimit extends Error {
  override readonly name = "StreamLimit";
  readonly code = "STREAM_LIMIT";
}

/** Unreliable, unordered messages beside the streams (RFC 9221). */
export interface DatagramChannel {
  /** Largest message that fits now, in bytes; it moves with the path's MTU. */
  readonly maxSize: number;
  /** Queue a message. False: dropped here (too large, or the bounded queue is full). */
  send(message: Uint8Array): boolean;
  /** Take messages as they come; one that comes while nobody listens is dropped. */
  listen(listener: (message: Uint8Array) => void): void;
}

export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

export interface Connection extends AsyncDisposable {
  readonly alpn: string;
  readonly transport: Transport;
  /** Many streams (QUIC, memory), or exactly one (TCP, Unix socket). */
  readonly multiplexed: boolean;
  /** `address:port`, IPv6 in brackets. Information, never identity. */
  readonly remoteAddress: string | undefined;
  /** SNI, as the client sent it. */
  readonly serverName: string | undefined;
  /** Who the handshake proved, and what they may do right now. */
  readonly auth: AuthContext;
  /** A further identity bound to this connection: an SSH key, a bearer token. */
  authenticate(credential: Credential): AuthContext | undefined;
  /**
   * Charge the source of this connection for a guess that failed, or for what nobody sends by mistake: once
   * a few such have added up it has to wait (see `limits.ts`). The connection itself goes on; where sources
   * are not counted nothing happens.
   */
  penalize(penalty: Penalty): void;
  /**
   * Next stream that the peer opened; `undefined` once closed or draining. Streams that had come when the
   * peer closed are given out first: their bytes had arrived.
   */
  accept(options?: WaitOptions): Promise<Duplex | undefined>;
  /** A stream to the peer; waits for the peer's limit. Rejects with `ConnectionClosed`. */
  open(options?: WaitOptions): Promise<Duplex>;
  /**
   * On the dialing side: resolves at the peer's first byte or stream, rejects with `ConnectionClosed`
   * if the connection ends first. On the serving side it is resolved from the start.
   */
  readonly accepted: Promise<void>;
  readonly datagrams: DatagramChannel | undefined;
  /** Largest UDP payload that the path takes, as far as it is known now, in bytes. QUIC only. */
  readonly mtu?: number | undefined;
  /** RFC 8446 §7.5; `length` in bytes. */
  exportKeyingMaterial(label: string, context: Uint8Array, length: number): Uint8Array;
  /** Finish what you have, start nothing new. */
  readonly draining: AbortSignal;
  /** Resolves, never rejects. */
  readonly closed: Promise<CloseReason>;
  /**
   * In order: end open writables, stop reading, wait for acknowledgement up to the drain time, close
   * with `OK`. Idempotent: there is one promise.
   */
  close(): Promise<void>;
  /** Now; what is in flight is lost. */
  abort(code: number, reason?: string): void;
  /**
   * Ask for a sign of life. `undefined`: something came a moment ago. Only connections that can be shared
   * have this.
   */
  probe?(): Probe | undefined;
}

/** A connection as its owner holds it: the router, or who dialed. */
export interface OwnedConnection extends Connection {
  /** What `penalize` does; set by who counts sources. */
  onpenalty: ((penalty: Penalty) => void) | undefined;
  /** Tell who uses it that it is time to finish: `draining` aborts, and `accept` gives no more. Idempotent. */
  drain(): void;
  /**
   * The peer is not served: close at once with `code`. Where the transport carries no code, `UNAVAILABLE`
   * is an end before any byte, and every other code a cut.
   */
  refuse(code: number, reason?: string): void;
}

/** A question whether the peer is still there. */
export interface Probe {
  /** True at its answer; false if the connection ends first. */
  readonly answered: Promise<boolean>;
  /** How long that should take at most, in milliseconds: a few probe time-outs (RFC 9002 §6.2). */
  readonly patience: number;
}
