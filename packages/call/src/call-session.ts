/**
 * A call session: both ends of one connection, each of which may call the other (`alknet/call`).
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import type { CloseReason, Connection } from "@alknet/core/connection";
import type { Logger } from "@alknet/core/log";
import type { CallLimits } from "./call-limits.ts";
import { Session } from "./session.ts";
import type { ForwardedFor } from "./wire/event.ts";

export interface CallOptions {
  /** Cancels the call, and its handler at the other end; the call then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Fail with `TIMEOUT` after this long, in milliseconds; `Infinity`: leave it to the other end, which gives
   * a call 30 s if it is one of ours.
   *
   * @default 30_000; of a subscription: none
   */
  timeout?: number | undefined;
  /** Who is calling, if not whom the connection proved. */
  authToken?: string | undefined;
  /** For whom a hub calls: data for logs and quotas, never authority. */
  forwardedFor?: ForwardedFor | undefined;
}

export interface SubscribeOptions extends CallOptions {
  /**
   * Items that may be under way, or wait here unread; the producer pauses beyond that. Large items count for
   * more: together they take about 16 MiB at most.
   *
   * @default 256
   */
  window?: number | undefined;
  /** The last item that was seen; of use where the operation is resumable. */
  lastEventId?: string | undefined;
}

/**
 * Items as they come. Leaving the loop, `return()` and disposal cancel the subscription, and its handler at
 * the other end. One reader: `next()` may be called ahead, and is answered in order.
 *
 * Begins when it is made, not when it is first read. A failure is thrown once what came before it was read.
 */
export interface Subscription<T> extends AsyncIterableIterator<T, undefined>, AsyncDisposable {
  /** `event_id` of the item that was last handed out, if it had one. */
  readonly lastEventId: string | undefined;
  next(): Promise<IteratorResult<T, undefined>>;
  return(): Promise<IteratorResult<T, undefined>>;
  [Symbol.asyncIterator](): Subscription<T>;
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

export interface CallSession extends AsyncDisposable {
  readonly connection: Connection;
  /**
   * Call an operation of the peer.
   *
   * @param operation without the leading slash, e.g. `fs/list`.
   * @param input what JSON can say; `undefined` is sent as `{}`.
   * @throws {CallError} if it fails; `TIMEOUT`; `LIMIT` if too many are open; `INTERNAL` "connection closed".
   * @throws {TypeError} if `input` is nothing that JSON can say, or an option is out of range.
   * @throws the reason of `signal`.
   */
  call(operation: string, input: unknown, options?: CallOptions): Promise<unknown>;
  /** Subscribe to an operation of the peer. Failures are thrown by the first `next()`, not here. */
  subscribe(operation: string, input: unknown, options?: SubscribeOptions): Subscription<unknown>;
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

export interface CallSessionOptions {
  /** What answers the peer's calls. @default every operation is `NOT_FOUND` */
  dispatch?: Dispatch | undefined;
  /** Sent with each call and subscription that brings none of its own. @default none */
  authToken?: string | undefined;
  limits?: Partial<CallLimits> | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
}

/**
 * Begin a session on `connection`, and own it: `close()` of the session closes it. The same on both sides.
 */
export function callSession(connection: Connection, options: CallSessionOptions = {}): CallSession {
  const session = new Session(connection, options);
  session.start();
  return session;
}
