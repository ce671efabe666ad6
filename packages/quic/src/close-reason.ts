/**
 * Why a QUIC connection ended. Each ends with exactly one of these.
 *
 * @module
 */

import type { NativeReason } from "./native.ts";

export type QuicCloseReason =
  /** Closed with a code of the application (RFC 9000 §10.2). */
  | { kind: "application"; by: "local" | "peer"; code: number; reason: string }
  /** A transport error (RFC 9000 §20.1); `alert` is the TLS alert when `code` is 0x100 + alert. */
  | {
      kind: "transport";
      by: "local" | "peer";
      code: number;
      alert: number | undefined;
      reason: string;
    }
  /** The idle time or the handshake time passed. */
  | { kind: "timeout"; reason: string }
  /** Stateless reset: the peer has lost its state (RFC 9000 §10.3). */
  | { kind: "reset" }
  /**
   * Nobody listens at the peer's port: ICMP says so of what was sent last, and nothing came from there. On Linux;
   * elsewhere it is a `timeout`.
   */
  | { kind: "unreachable"; reason: string }
  /** No common QUIC version. */
  | { kind: "version" }
  /** JavaScript let go of it without closing it. */
  | { kind: "dropped" }
  /** A fault on this side. */
  | { kind: "internal"; reason: string };

/** The connection ended under an operation; `closeReason` says why. */
export class QuicConnectionClosed extends Error {
  override readonly name = "QuicConnectionClosed";
  readonly code = "QUIC_CONNECTION_CLOSED";
  readonly closeReason: QuicCloseReason;

  constructor(reason: QuicCloseReason, options?: ErrorOptions) {
    super(`connection closed: ${describe(reason)}`, options);
    this.closeReason = reason;
  }
}

/** The reason in words, for a log line. */
export function describe(reason: QuicCloseReason): string {
  switch (reason.kind) {
    case "application":
      return `${reason.by} closed with code ${reason.code}${quoted(reason.reason)}`;
    case "transport":
      return reason.alert === undefined
        ? `transport error 0x${reason.code.toString(16)} by ${reason.by}${quoted(reason.reason)}`
        : `TLS alert ${reason.alert} by ${reason.by}${quoted(reason.reason)}`;
    case "timeout":
    case "unreachable":
      return reason.reason;
    case "reset":
      return "stateless reset: the peer has lost its state";
    case "version":
      return "no common QUIC version";
    case "dropped":
      return "dropped without having been closed";
    case "internal":
      return `internal error${quoted(reason.reason)}`;
  }
}

function quoted(text: string): string {
  return text === "" ? "" : ` ${JSON.stringify(text)}`;
}

/** The engine's number for a reason, in our words. */
export function reasonOf(reason: NativeReason | null): QuicCloseReason {
  if (reason === null) return { kind: "internal", reason: "panic" };
  const by = reason.byPeer ? "peer" : "local";
  const { code, text } = reason;
  switch (reason.kind) {
    case 1:
      return { kind: "application", by, code, reason: text };
    case 2:
      return {
        kind: "transport",
        by,
        code,
        // RFC 9001 §4.8
        alert: code >= 0x100 && code < 0x200 ? code - 0x100 : undefined,
        reason: text,
      };
    case 3:
      return { kind: "timeout", reason: text };
    case 4:
      return { kind: "reset" };
    case 5:
      return { kind: "version" };
    case 6:
      return { kind: "dropped" };
    case 8:
      return { kind: "unreachable", reason: text };
    default:
      return { kind: "internal", reason: text };
  }
}
