/**
 * A client that comes back by itself: it dials again when its connection is lost, repeats the queries that were
 * under way, and goes on with subscriptions that can be resumed.
 *
 * ```text
 * await using den = reconnectingClient({ dial: async (signal) => callSession(await dial("den", signal)) });
 * const names = await client<typeof registry>(den).fs.list({ path: "/" });
 * ```
 *
 * A mutation that was under way fails: whether it was carried out, nobody can tell. What begins while there is
 * no connection waits for one, within its own deadline.
 *
 * @module
 */

import { type Clock, systemClock } from "@alknet/core/clock";
import { CallError, isConnectionLost, remoteError } from "./call-error.ts";
import type { Caller, CallOptions, SubscribeOptions, Subscription } from "./caller.ts";
import { ResumingSubscription } from "./resuming-subscription.ts";
import type { CallSession } from "./session.ts";

export interface ReconnectOptions {
  /** Connect once; what it rejects with is told by `onlost`, and it is called again. */
  dial(signal: AbortSignal): Promise<CallSession>;
  /** Called with each new session, the first too: to import its operations, for one. */
  onconnected?: ((session: CallSession) => void) | undefined;
  /**
   * Called when a connection is lost or not made, and how long it waits before the next try, in milliseconds.
   *
   * @param reason what `dial` rejected with, the connection's `CloseReason`, or the `CallError` of the first call
   *   that was lost with it.
   */
  onlost?: ((reason: unknown, delay: number) => void) | undefined;
  /** Whether to try again after this; if not, all that waits rejects with it. @default always */
  retry?: ((reason: unknown) => boolean) | undefined;
  /** @default the machine's */
  clock?: Clock | undefined;
  /** 0 to 1, for the jitter. @default Math.random */
  random?: (() => number) | undefined;
}

export interface ReconnectingClient extends Caller, AsyncDisposable {
  /** The session in use; `undefined` while there is none. */
  readonly session: CallSession | undefined;
  /** The session in use, or the next one. Rejects when the client is closed, or gives up. */
  connected(options?: { signal?: AbortSignal | undefined }): Promise<CallSession>;
  /** Close the session in order, and dial no more. Idempotent. */
  close(): Promise<void>;
}

/** First pause after a failure, and the longest, in milliseconds; each is twice the one before. */
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 60_000;

/** A connection that lasted this long was a good one: the next pause is the first again. In milliseconds. */
const GOOD = 10_000;

/** Calls that may wait for a connection. */
const MAX_WAITING = 16_384;

/** Time that a call has unless it says so, in milliseconds: that of a session. */
const CALL_TIME = 30_000;

/** What is known of operations is kept for as many. */
const MAX_KNOWN = 1_024;

interface Known {
  /** May be repeated. */
  readonly query: boolean;
  readonly resumable: boolean;
}

type TimedOptions = Pick<CallOptions, "signal"> & { readonly timeout: number };

/** Connect, and stay connected until it is closed. */
export function reconnectingClient(options: ReconnectOptions): ReconnectingClient {
  const { onconnected, onlost, retry = () => true } = options;
  const { clock = systemClock, random = Math.random } = options;
  const closing = new AbortController();
  let session: CallSession | undefined;
  /** Why the session in use was given up, before its connection has ended. */
  let lostFor: CallError | undefined;
  let next = Promise.withResolvers<CallSession>();
  let waiting = 0;
  let known = new Map<string, Known>();
  // Nobody may be waiting when it gives up.
  next.promise.catch(() => {});
  const ended = run().catch((error: unknown) => next.reject(error));

  async function run(): Promise<void> {
    let delay = FIRST_DELAY;
    while (!closing.signal.aborted) {
      let reason: unknown;
      let begin = Infinity;
      try {
        await using made = await options.dial(closing.signal);
        if (closing.signal.aborted) break;
        begin = clock.now();
        begun(made);
        const closed = await made.closed;
        // That we have closed it ourselves is not why.
        reason = closed.by === "local" ? (lostFor ?? closed) : closed;
        // Before it is disposed of, which may take a while.
        forget();
      } catch (error) {
        reason = error;
        forget();
      }
      if (closing.signal.aborted) break;
      if (!retry(reason)) throw reason;
      if (clock.now() - begin >= GOOD) delay = FIRST_DELAY;
      // Half of it at least: who lost the same node at once shall not come back at once.
      const pause = delay * (0.5 + random() / 2);
      onlost?.(reason, pause);
      await elapsed(pause);
      delay = Math.min(delay * 2, LONGEST_DELAY);
    }
    throw closedError();
  }

  function begun(made: CallSession): void {
    session = made;
    lostFor = undefined;
    // It may have become another node behind the same name.
    known = new Map();
    onconnected?.(made);
    next.resolve(made);
  }

  /** Begin nothing more on the session in use. */
  function forget(): void {
    if (session === undefined) return;
    session = undefined;
    next = Promise.withResolvers();
    next.promise.catch(() => {});
  }

  /**
   * A call was lost on `through`, and one before it on `before`. That may be the end of its stream alone, or come
   * ahead of the end of the connection: where nothing can be called any more, it is not waited for.
   */
  function lostOn(through: CallSession, before: CallSession | undefined, error: CallError): void {
    if (session !== through) return;
    if (through.connection.multiplexed && through !== before) return;
    lostFor = error;
    forget();
    void through.close();
  }

  async function connected({ signal }: { signal?: AbortSignal | undefined } = {}) {
    signal?.throwIfAborted();
    if (session !== undefined) return session;
    if (waiting === MAX_WAITING) {
      throw remoteError("LIMIT", `${MAX_WAITING} calls wait for a connection already`);
    }
    waiting += 1;
    try {
      return await unlessAborted(next.promise, signal);
    } finally {
      waiting -= 1;
    }
  }

  /** What the far node says of an operation. @throws {CallError} if it says nothing in time */
  async function look(operation: string, callOptions: CallOptions): Promise<Known> {
    const found = known.get(operation);
    if (found !== undefined) return found;
    const table = known;
    const schema = (await call("services/schema", { name: operation }, callOptions)) as {
      op_type?: unknown;
      resumable?: unknown;
    };
    const made = { query: schema.op_type === "query", resumable: schema.resumable === true };
    if (table.size === MAX_KNOWN) table.clear();
    table.set(operation, made);
    return made;
  }

  /** Whether that is `true` of an operation; `false` if nobody says so. */
  async function isKnown(what: keyof Known, operation: string, callOptions: CallOptions) {
    if (closing.signal.aborted) return false;
    try {
      return (await look(operation, callOptions))[what];
    } catch (error) {
      if (error instanceof CallError) return false;
      throw error;
    }
  }

  async function call(
    operation: string,
    input: unknown,
    callOptions: CallOptions = {},
  ): Promise<unknown> {
    const { timeout = CALL_TIME, signal } = callOptions;
    const inTime = untilDue(timeout);
    let before: CallSession | undefined;
    for (;;) {
      const through = session ?? (await connectedInTime(inTime(signal)));
      try {
        return await through.call(operation, input, { ...callOptions, ...inTime(signal) });
      } catch (error) {
        if (!isConnectionLost(error)) throw error;
        lostOn(through, before, error);
        before = through;
        // Itself a query, and what is asked to find out.
        if (operation === "services/schema" && !closing.signal.aborted) continue;
        const { authToken } = callOptions;
        if (!(await isKnown("query", operation, { authToken, ...inTime(signal) }))) throw error;
      }
    }
  }

  /** Options with the time that is left of `timeout`, which begins now. */
  function untilDue(timeout: number): (signal: AbortSignal | undefined) => TimedOptions {
    const begin = clock.now();
    return (signal) => ({ signal, timeout: Math.max(0, timeout - (clock.now() - begin)) });
  }

  /** The session, once there is one. @throws {CallError} `TIMEOUT` */
  async function connectedInTime({ signal, timeout }: TimedOptions): Promise<CallSession> {
    if (session !== undefined || timeout === Infinity) return await connected({ signal });
    const late = clock.timeout(timeout);
    try {
      const either = signal === undefined ? late : AbortSignal.any([signal, late]);
      return await connected({ signal: either });
    } catch (error) {
      if (error !== late.reason) throw error;
      throw remoteError("TIMEOUT", "request timed out", { cause: error });
    }
  }

  async function elapsed(milliseconds: number): Promise<void> {
    // Time-outs of a clock keep no process alive, and one that waits for its connection shall not just end.
    const alive = setInterval(() => {}, 2 ** 30);
    const either = AbortSignal.any([clock.timeout(milliseconds), closing.signal]);
    await unlessAborted(new Promise<never>(() => {}), either).catch(() => {});
    clearInterval(alive);
  }

  return {
    get session() {
      return session;
    },
    connected,
    call,
    subscribe(operation, input, subscribeOptions: SubscribeOptions = {}): Subscription<unknown> {
      const { timeout = Infinity, signal, authToken } = subscribeOptions;
      const inTime = untilDue(timeout);
      let before: CallSession | undefined;
      let through: CallSession | undefined;
      return new ResumingSubscription({
        signal,
        async begin(lastEventId = subscribeOptions.lastEventId, either) {
          before = through;
          through = await connectedInTime(inTime(either));
          const options = { ...subscribeOptions, ...inTime(signal), lastEventId };
          return through.subscribe(operation, input, options);
        },
        async mayResume(error, either) {
          if (through !== undefined) lostOn(through, before, error);
          return await isKnown("resumable", operation, { authToken, ...inTime(either) });
        },
      });
    },
    async close() {
      closing.abort(closedError());
      await session?.close();
      await ended;
    },
    async [Symbol.asyncDispose]() {
      await this.close();
    },
  };
}

function closedError(): CallError {
  return remoteError("INTERNAL", "the client is closed");
}

/** What `promise` gives, unless `signal` aborts first. @throws the signal's reason */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onabort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", onabort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onabort);
  }
}
