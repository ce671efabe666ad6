/**
 * `CallError`: how a call fails, here and on the wire. Switch on `code`, never on `message`.
 *
 * @module
 */

import { withoutStack } from "@alknet/core/without-stack";

/** Codes of the machinery; an operation declares its own beside them. */
export type CallErrorCode =
  /** No such operation, or none that the caller may know of. */
  | "NOT_FOUND"
  /** The caller may not, or may not any more. */
  | "FORBIDDEN"
  | "INVALID_INPUT"
  /** A subscription was called, or a call subscribed to. */
  | "INVALID_OPERATION_TYPE"
  /** A fault of the other side, or the connection was lost. */
  | "INTERNAL"
  /** The deadline has passed. Retryable. */
  | "TIMEOUT"
  /** Too much is open on this connection. Retryable. Ours: not in the protocol's list. */
  | "LIMIT"
  /** A subscriber that opened no window fell behind. Ours: not in the protocol's list. */
  | "OVERFLOW";

const RETRYABLE: ReadonlySet<string> = new Set<CallErrorCode>(["TIMEOUT", "LIMIT"]);

export interface CallErrorOptions extends ErrorOptions {
  /** Whether the same call may succeed later. @default as the code says: `TIMEOUT` and `LIMIT` do */
  retryable?: boolean | undefined;
  /** Data of the failure, as the operation declares it. Left out on the wire when it is not given. */
  details?: unknown;
}

/** A call failed. */
export class CallError extends Error {
  override readonly name = "CallError";
  /** One of {@linkcode CallErrorCode}, or one that the operation declares. */
  readonly code: string;
  readonly retryable: boolean;
  readonly details: unknown;

  constructor(code: string, message: string, options?: CallErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = options?.retryable ?? RETRYABLE.has(code);
    this.details = options?.details;
  }
}

/** A {@linkcode CallError} that tells of the wire, or of time: where it is made there is nothing to see. */
export function remoteError(code: string, message: string, options?: CallErrorOptions): CallError {
  return withoutStack(() => new CallError(code, message, options));
}

/** What every call in hand ends with when its connection does. */
export function connectionLost(cause?: unknown): CallError {
  const options = cause === undefined ? undefined : { cause };
  const error = remoteError("INTERNAL", "connection closed", options);
  lost.add(error);
  return error;
}

/** Whether `error` is of this side: nobody knows whether the call was carried out. */
export function isConnectionLost(error: unknown): error is CallError {
  return error instanceof CallError && lost.has(error);
}

/** Those made by {@linkcode connectionLost}: the peer's errors may have the same code and text. */
const lost = new WeakSet<CallError>();
