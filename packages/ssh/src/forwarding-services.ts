/**
 * What forwarding is done with: who connects, and who listens, for peers. `@alknet/tunnel` has both, with the rights,
 * limits and rules of a node's own forwards; they are handed in by value.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { AuthContext } from "@alknet/core/access";

/** A host is a name in normal form or an address, a port 1 to 65,535; a path is absolute. */
export type ForwardTarget =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/** As a target, but for the host: `""` and `*` are all addresses, `localhost` both loopbacks; port 0 is any. */
export type ForwardPlace = ForwardTarget;

export interface Outbound {
  /**
   * Connect for a peer. The socket is paused, and allows half-open.
   *
   * Rejects with what {@linkcode refusalOf} reads, or with the reason of `signal`.
   */
  connect(
    auth: AuthContext,
    target: ForwardTarget,
    options: { readonly signal: AbortSignal; readonly largeReads?: boolean },
  ): Promise<OutboundFlow>;
}

/** Dispose it when the flow is over; the socket is the caller's. */
export interface OutboundFlow extends Disposable {
  readonly socket: Socket;
  /** Aborts when the right is gone. */
  readonly signal: AbortSignal;
}

export interface Inbound {
  /**
   * Listen for a peer until `options.signal` aborts. `serve` gets each connection, paused and half-open, from when
   * this has resolved on; its `signal` aborts when the right to it is gone.
   *
   * Rejects with what {@linkcode refusalOf} reads, or with the reason of `signal`.
   */
  listen(
    auth: AuthContext,
    place: ForwardPlace,
    serve: (socket: Socket, origin: ForwardOrigin, signal: AbortSignal) => void,
    options: { readonly signal: AbortSignal },
  ): Promise<ForwardListener>;
}

/** Where a connection is from; a Unix socket has an empty address and port 0. */
export interface ForwardOrigin {
  readonly address: string;
  readonly port: number;
}

export interface ForwardListener {
  /** With the port that was got. */
  readonly place: ForwardPlace;
  /** Resolves when it listens no more. */
  readonly closed: Promise<unknown>;
  /** Take no new connections; those that stand go on. */
  close(): void;
}

/** Why something was not opened. */
export interface ForwardRefusal {
  readonly kind: "not-allowed" | "limit" | "failed" | "fault";
  /** For the peer: it names the target. */
  readonly text: string;
  /** For logs: it names none. */
  readonly reason: string;
  /** The scope that lacks. */
  readonly scope: string | undefined;
}

/** Read an error of {@linkcode Outbound.connect} or {@linkcode Inbound.listen}. */
export function refusalOf(error: unknown): ForwardRefusal {
  const { refusal, message, cause } = error as {
    refusal?: unknown;
    message: string;
    cause?: { readonly reason?: string; readonly missing?: string };
  };
  if (typeof refusal !== "string" || refusal === "failed") {
    const text = typeof refusal === "string" ? message : "a fault of this node";
    return { kind: "fault", text, reason: "a fault of this node", scope: undefined };
  }
  if (refusal === "not-allowed") {
    const { reason = "not allowed", missing: scope } = cause ?? {};
    return { kind: refusal, text: message, reason, scope };
  }
  const kind = refusal === "limit" ? refusal : "failed";
  return { kind, text: message, reason: refusal, scope: undefined };
}
