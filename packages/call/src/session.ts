/**
 * A call session, as those see it who call through it, and who answer the calls of its peer.
 *
 * @module
 */

import type { CloseReason, Connection } from "@alknet/core/connection";
import type { Caller } from "./caller.ts";
import type { ForwardedFor } from "./wire/event.ts";

/** Both ends of one connection, each of which may call the other. */
export interface CallSession extends Caller, AsyncDisposable {
  readonly connection: Connection;
  /** When the connection has ended and every call with it. Never rejects. */
  readonly closed: Promise<CloseReason>;
  /**
   * End in order: calls to the peer fail, subscriptions of the peer end, its calls have
   * `CallLimits.drain` to be answered, then the connection is closed. Idempotent.
   */
  close(): Promise<void>;
  /** How much is open now. */
  stats(): CallStats;
}

/** How much is open in a session: all zero when nothing goes on. */
export interface CallStats {
  /** Calls and subscriptions of ours that have not ended. */
  readonly outgoing: number;
  /** Calls and subscriptions of the peer that are being answered. */
  readonly incoming: number;
  /** Handlers that have not returned; those of cancelled calls too. */
  readonly running: number;
  /** Calls of the peer that wait for room among the answers. */
  readonly held: number;
  /** Streams in use. */
  readonly streams: number;
  /** Bytes that wait to be sent. */
  readonly outgoingBytes: number;
  /** Bytes of frames that have not come in full. */
  readonly incomingBytes: number;
  /** Deadlines that are set. */
  readonly deadlines: number;
}

/**
 * What answers the peer's calls; called once for each `call.requested` that is well formed.
 *
 * Returns the output, a promise of it, or what `stream()` of `output-stream.ts` made (or a promise of that).
 * Throws or rejects with a `CallError`, which goes to the peer as it is; anything else goes to the log, and
 * to the peer as `INTERNAL` without its text. Runs synchronously until its first `await`.
 */
export type Dispatch = (call: IncomingCall) => unknown;

/** A call of the peer, while it is answered. */
export interface IncomingCall {
  /** As the peer chose it: 1 to 128 characters, unique among its open calls of this connection. */
  readonly id: string;
  /** Without the leading slash. */
  readonly operation: string;
  readonly input: unknown;
  readonly authToken: string | undefined;
  /** Metadata, never authority. */
  readonly forwardedFor: ForwardedFor | undefined;
  readonly lastEventId: string | undefined;
  /** What the peer will wait at most, in milliseconds, if it said so. */
  readonly timeout: number | undefined;
  /** Items that the peer has room for, if it said so: it takes this for a subscription. */
  readonly window: number | undefined;
  /**
   * When it will be aborted with `TIMEOUT`: absolute, of the session's clock `now()`, in milliseconds.
   * What the peer asked for, and of a call at most `CallLimits.callTime` from its arrival.
   */
  readonly deadline: number | undefined;
  /** Aborts when the peer cancels, at the deadline, when the connection ends. Made on first use. */
  readonly signal: AbortSignal;
  /** It was cancelled, or timed out: no answer is sent any more. */
  readonly aborted: boolean;
  readonly session: CallSession;
  /** Have `listener` called when `signal` aborts, with its reason: without the cost of a signal. Soon, if it has. */
  onabort(listener: (reason: Error) => void): void;
  /**
   * Say that it is a subscription: only a deadline that the peer asked for stays. Implied by answering with a
   * stream; of use before, where `deadline` is passed on.
   */
  subscribed(): void;
  /** End it now with `error`, and abort what runs: a right was taken back. Does nothing once it was answered. */
  fail(error: unknown): void;
}
