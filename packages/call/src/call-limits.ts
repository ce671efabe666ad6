/**
 * What a call session holds at most.
 *
 * @module
 */

export interface CallLimits {
  /** Time that a call of the peer has, in milliseconds. Subscriptions have no such limit. @default 30_000 */
  readonly callTime: number;
  /** Calls and subscriptions of the peer that run at once; what comes above is refused with `LIMIT`. @default 16_384 */
  readonly incomingCalls: number;
  /** Calls and subscriptions of ours that are open at once; above, `LIMIT` is thrown. @default 65_536 */
  readonly outgoingCalls: number;
  /** Bytes of input of the peer's calls that run at once; above: `LIMIT`. @default 268_435_456 */
  readonly incomingBytes: number;
  /** Bytes of frames that have begun to come; a stream that would pass it is reset. @default 134_217_728 */
  readonly partialBytes: number;
  /**
   * Bytes that wait to be sent on one stream, above which nothing new is begun for it; it is less where more
   * than 16 streams wait.
   *
   * @default 1_048_576
   */
  readonly outgoingBytes: number;
  /** Items that wait for a subscriber who opened no window; above: `OVERFLOW`. @default 1_024 */
  readonly unreadItems: number;
  /** How long `close()` waits for calls of the peer to be answered, in milliseconds. @default 2_000 */
  readonly drain: number;
}

export const defaultCallLimits: CallLimits = {
  callTime: 30_000,
  incomingCalls: 16_384,
  outgoingCalls: 65_536,
  incomingBytes: 256 * 2 ** 20,
  partialBytes: 128 * 2 ** 20,
  outgoingBytes: 2 ** 20,
  unreadItems: 1_024,
  drain: 2_000,
};
