/**
 * Close codes: the numbers that end a connection (QUIC application close) or a stream (reset).
 *
 * The table of the registry; a number that is not in it came from a protocol with codes of its
 * own, or from a peer that is newer than we are.
 *
 * @module
 */

/** Name of each close code. */
export const CloseCode = {
  /** Done. */
  OK: 0,
  /** The node is shutting down; come back. */
  DRAINING: 1,
  /** Not served here, or not for you: deliberately the same. */
  UNAVAILABLE: 2,
  /** The right this connection stood on is gone. Sent only to a peer that was known. */
  REVOKED: 3,
  /** A limit of this node was reached; retry later. */
  LIMIT: 4,
  /** The peer broke the protocol. */
  PROTOCOL: 5,
  /** A fault on our side. */
  INTERNAL: 6,
  /** Nothing moved for the idle time. */
  IDLE: 7,
} as const;

export type CloseCodeName = keyof typeof CloseCode;

const names = new Map<number, CloseCodeName>(
  Object.entries(CloseCode).map(([name, code]) => [code, name as CloseCodeName]),
);

/** Name of `code`, or `undefined` for a number that is not ours. */
export function closeCodeName(code: number): CloseCodeName | undefined {
  return names.get(code);
}

/** `error.code` of our errors that has a number of its own on the wire. */
const byErrorCode: Readonly<Record<string, number>> = {
  ...CloseCode,
  ACCESS_DENIED: CloseCode.UNAVAILABLE,
  ACCESS_REVOKED: CloseCode.REVOKED,
};

/**
 * The number that stands for `error` on the wire.
 *
 * Looks at `error.code`, then at `error.cause.code` (an aborted `pipeline` destroys its streams with
 * `ABORT_ERR` and puts ours in `cause`), then at a `resetCode`; a fault of ours otherwise.
 */
export function closeCodeOf(error: unknown): number {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; depth++) {
    const { code, resetCode } = at as { code?: unknown; resetCode?: unknown };
    if (typeof code === "string" && Object.hasOwn(byErrorCode, code)) return byErrorCode[code]!;
    if (typeof resetCode === "number") return resetCode;
    at = at.cause;
  }
  return CloseCode.INTERNAL;
}
