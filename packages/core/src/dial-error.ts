/**
 * A dial that failed.
 *
 * @module
 */

import { ConnectionClosed } from "./connection.ts";

/** Why a dial gave no connection. */
export type DialErrorCode =
  /** No address of the target answered. */
  | "UNREACHABLE"
  /** An address answered, and the handshake did not end in time. */
  | "HANDSHAKE_TIMEOUT"
  /** The peer does not serve this ALPN. */
  | "UNKNOWN_ALPN"
  /** The peer takes no handshake from us now: it is overloaded, or we are being penalized. */
  | "REFUSED"
  /** The handshake failed. */
  | "HANDSHAKE_FAILED"
  /** The target's text is no peer's name, ticket or address, or names nothing to dial. */
  | "TARGET_INVALID"
  /** No peer has this name. */
  | "PEER_UNKNOWN"
  /** The name of an address did not resolve. */
  | "NAME_NOT_FOUND";

export class DialError extends Error {
  override readonly name = "DialError";
  readonly code: DialErrorCode;
  /** The peer has answered, and the answer is no: another address or transport would not change it. */
  readonly final: boolean;
  readonly hint: string | undefined;

  constructor(
    code: DialErrorCode,
    text: string,
    options: ErrorOptions & { final?: boolean; hint?: string } = {},
  ) {
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.final = options.final ?? false;
    this.hint = options.hint;
  }
}

/** Whether a failed attempt ends the whole dial: the peer has answered, or somebody else has. */
export function isFinal(error: unknown): boolean {
  if (error instanceof DialError) return error.final;
  if (error instanceof ConnectionClosed) return error.reason.by === "peer";
  const { code } = error as { code?: unknown };
  return code === "PEER_KEY_MISMATCH" || code === "PEER_UNPINNED" || code === "CERTIFICATE_INVALID";
}
