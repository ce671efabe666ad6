/**
 * What calls go through: a session, or a client that comes back by itself; and what may be said with each call.
 *
 * @module
 */

import type { ForwardedFor } from "./wire/event.ts";

/** See `call-session.ts`, `reconnecting-client.ts`. */
export interface Caller {
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
}

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
