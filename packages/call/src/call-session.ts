/**
 * A call session: both ends of one connection, each of which may call the other (`alknet/call`).
 *
 * Events go to where they belong; here are the ends of calls, streams and connection.
 *
 * @module
 */

import { type Clock, systemClock } from "@alknet/core/clock";
import { type CloseReason, type Connection, ConnectionClosed } from "@alknet/core/connection";
import { deadlines } from "@alknet/core/deadlines";
import { type Logger, silentLogger } from "@alknet/core/log";
import { withoutStack } from "@alknet/core/without-stack";
import { BufferedSubscription, FIRST_ITEMS } from "./buffered-subscription.ts";
import { CallError, connectionLost } from "./call-error.ts";
import { type CallLimits, defaultCallLimits } from "./call-limits.ts";
import { type CallStream, type StreamHost, streamError } from "./call-stream.ts";
import type { CallOptions, SubscribeOptions, Subscription } from "./caller.ts";
import { IncomingCalls } from "./incoming-calls.ts";
import { CALL_TIME, type Outgoing, OutgoingCalls } from "./outgoing-calls.ts";
import { RequestGate } from "./request-gate.ts";
import { SessionStreams } from "./session-streams.ts";
import type { CallSession, CallStats, Dispatch } from "./session.ts";
import { SingleAnswer } from "./single-answer.ts";
import { encodeAborted, encodeCredit } from "./wire/encode-event.ts";
import { type CallEvent, MAX_ITEMS, type Requested } from "./wire/event.ts";

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

/** Items under way if the subscriber does not say. */
const WINDOW = 256;

/** Streams that may hold as much as one may; where more wait to be sent, each holds less. */
const FULL_STREAMS = 16;

class Session implements CallSession, StreamHost {
  readonly connection: Connection;
  readonly #limits: CallLimits;
  readonly #clock: Clock;
  readonly #streams: SessionStreams;
  readonly #incoming: IncomingCalls;
  readonly #outgoing: OutgoingCalls;
  readonly #gate: RequestGate;
  readonly #closed = Promise.withResolvers<CloseReason>();
  /** No requests are taken any more. */
  #draining = false;
  /** No answers will come any more, and why. */
  #lost: { readonly cause: unknown } | undefined;
  #reason: CloseReason | undefined;
  #closing: Promise<void> | undefined;
  #partialBytes = 0;
  /** Streams whose transport takes no more for now. */
  #blocked = 0;
  /** The peer opens no more streams. */
  #accepted = false;
  /** Who waits until no call of the peer is unanswered. */
  #idle: (() => void) | undefined;

  constructor(connection: Connection, options: CallSessionOptions) {
    const { dispatch = notFound, clock = systemClock, logger = silentLogger } = options;
    this.connection = connection;
    this.#clock = clock;
    this.#limits = { ...defaultCallLimits, ...options.limits };
    this.#streams = new SessionStreams(connection, this);
    this.#incoming = new IncomingCalls({
      session: this,
      dispatch,
      limits: this.#limits,
      clock,
      logger,
      hasRoom: (stream) => this.#hasRoom(stream),
      onend: (stream) => this.#answered(stream),
    });
    this.#outgoing = new OutgoingCalls({
      clock,
      limit: this.#limits.outgoingCalls,
      authToken: options.authToken,
      send: (call, frame, isSubscription) => this.#streams.request(call, frame, isSubscription),
      abort: (call) => this.#streams.abort(call, encodeAborted(call.idText), CANCELLED),
      onend: (call) => this.#streams.leave(call),
    });
    this.#gate = new RequestGate({
      hasRoom: (stream) => this.#hasRoom(stream),
      mayPause: () => this.#outgoing.size === 0,
      admit: (stream, request, bytes) => this.#incoming.request(stream, request, bytes),
      refuse: (stream, id, error) => this.#incoming.refuse(stream, id, error),
    });
  }

  /** Begin to read. */
  start(): void {
    const { connection } = this;
    void connection.closed.then((reason) => this.#connectionClosed(reason));
    const drain = (): void => void this.#drain();
    if (connection.draining.aborted) drain();
    else connection.draining.addEventListener("abort", drain, { once: true });
    void this.#streams.accept().then(() => {
      this.#accepted = true;
      this.#finish();
    });
  }

  get closed(): Promise<CloseReason> {
    return this.#closed.promise;
  }

  call(operation: string, input: unknown, options: CallOptions = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { timeout = CALL_TIME } = options;
      this.#begin(new SingleAnswer(resolve, reject), operation, input, options, timeout);
    });
  }

  subscribe(
    operation: string,
    input: unknown,
    options: SubscribeOptions = {},
  ): Subscription<unknown> {
    const { window = WINDOW, timeout = Infinity } = options;
    let call: Outgoing | undefined;
    const subscription = new BufferedSubscription({
      window,
      unreadItems: Math.max(window, this.#limits.unreadItems),
      credit: (items) => {
        if (call !== undefined) this.#streams.follow(call, encodeCredit(call.idText, items));
      },
      cancel: () => {
        if (call !== undefined) this.#outgoing.drop(call);
      },
    });
    try {
      if (!(Number.isInteger(window) && window >= 1 && window <= MAX_ITEMS)) {
        throw new RangeError(`cannot subscribe with window ${window}: expected 1 to ${MAX_ITEMS}`);
      }
      const first = Math.min(window, FIRST_ITEMS);
      call = this.#begin(subscription, operation, input, options, timeout, first);
    } catch (error) {
      subscription.cancel(error);
    }
    return subscription;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#shutdown());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  stats(): CallStats {
    let outgoingBytes = 0;
    for (const stream of this.#streams) outgoingBytes += stream.outgoingBytes;
    return {
      outgoing: this.#outgoing.size,
      incoming: this.#incoming.size,
      running: this.#incoming.running,
      held: this.#gate.size,
      streams: this.#streams.size,
      outgoingBytes,
      incomingBytes: this.#partialBytes,
      deadlines: this.#outgoing.deadlines + this.#incoming.deadlines.size,
    };
  }

  received(stream: CallStream, event: CallEvent, bytes: number): void {
    switch (event.type) {
      case "requested":
        return this.#requested(stream, event, bytes);
      case "responded":
        return this.#outgoing.responded(stream, event, bytes);
      case "completed":
        return this.#outgoing.completed(event.id);
      case "error":
        return this.#outgoing.failed(event);
      case "aborted":
        // It may be the caller of a call, or who was called.
        if (this.#incoming.abort(event.id) || this.#gate.abort(event.id)) return;
        return this.#outgoing.aborted(event.id);
      case "credit":
        if (!this.#incoming.credit(event.id, event.items)) this.#gate.credit(event.id, event.items);
        return;
      case "invalid":
        return this.#gate.refuse(stream, event.id, "INVALID_INPUT", event.problem);
    }
  }

  partial(change: number): boolean {
    this.#partialBytes += change;
    return this.#partialBytes <= this.#limits.partialBytes;
  }

  drained(stream: CallStream): void {
    this.#gate.drained(stream);
    this.#endIfDone(stream);
  }

  blocked(change: 1 | -1): void {
    this.#blocked += change;
  }

  ended(stream: CallStream): void {
    // On other streams answers may still come.
    if (!this.connection.multiplexed) this.#lose(undefined);
    this.#endIfDone(stream);
  }

  closedStream(stream: CallStream, error: Error | undefined): void {
    const calls = this.#streams.forget(stream);
    this.#gate.forget(stream);
    const lost = connectionLost(error);
    this.#incoming.lose(stream, lost);
    if (!this.connection.multiplexed) this.#lose(error);
    else if (error !== undefined) this.#outgoing.lose(calls, lost);
    this.#finish();
  }

  #begin(
    receiver: SingleAnswer | BufferedSubscription,
    operation: string,
    input: unknown,
    options: CallOptions,
    timeout: number,
    window?: number,
  ): Outgoing {
    if (!(timeout >= 0)) {
      throw new RangeError(`cannot call ${operation}: timeout must be from 0, got ${timeout}`);
    }
    if (this.#lost !== undefined) throw connectionLost(this.#lost.cause);
    const call = this.#outgoing.begin(receiver, operation, input, options, timeout, window);
    this.#gate.resume();
    return call;
  }

  #requested(stream: CallStream, request: Requested, bytes: number): void {
    if (this.#draining) {
      return this.#gate.refuse(stream, request.id, "LIMIT", "the other side is closing");
    }
    this.#gate.arrive(stream, request, bytes);
  }

  #hasRoom(stream: CallStream): boolean {
    const share = Math.min(1, FULL_STREAMS / this.#blocked);
    const { waitingBytes } = stream;
    // Where nothing waits there is nothing to wait for.
    return waitingBytes === 0 || waitingBytes < this.#limits.outgoingBytes * share;
  }

  /** A call of the peer has ended. */
  #answered(stream: CallStream): void {
    this.#endIfDone(stream);
    if (this.#incoming.unanswered === 0) this.#idle?.();
  }

  /** End our side of a stream on which the peer has ended, once everything is answered. */
  #endIfDone(stream: CallStream): void {
    if (!stream.ended || this.#incoming.isAnsweringOn(stream) || this.#gate.holds(stream)) return;
    stream.end();
  }

  /** Nothing will be answered any more. */
  #lose(cause: unknown): void {
    if (this.#lost !== undefined) return;
    this.#lost = { cause };
    this.#outgoing.loseAll(cause);
  }

  /** Finish what was begun, then close. Who wants it sooner cuts the connection. */
  async #drain(): Promise<void> {
    await this.#finished();
    await this.connection.close();
  }

  async #shutdown(): Promise<void> {
    this.#outgoing.cancelAll(connectionLost());
    this.#lose(undefined);
    await new Promise<void>((resolve) => {
      const callOff = deadlines(this.#limits.drain, this.#clock).add(resolve);
      void this.#finished().then(() => {
        callOff();
        resolve();
      });
    });
    await this.connection.close();
    await this.closed;
  }

  /** Resolves when what the peer has called is answered, and the answers have left. */
  async #finished(): Promise<void> {
    this.#draining = true;
    if (this.#incoming.unanswered > 0) {
      const before = this.#idle;
      await new Promise<void>((resolve) => {
        this.#idle = () => {
          before?.();
          resolve();
        };
      });
    }
    await Promise.all([...this.#streams].map((stream) => stream.drained()));
  }

  #connectionClosed(reason: CloseReason): void {
    this.#reason = reason;
    for (const stream of [...this.#streams]) {
      // We have stopped reading, and over QUIC nothing tells the end of a stream any more.
      if (reason.by === "local") stream.destroy(CANCELLED);
      // What has come can still be read, and may be answers.
      else stream.resume();
    }
    this.#finish();
  }

  /** Once the connection and all its streams are gone. */
  #finish(): void {
    const reason = this.#reason;
    if (reason === undefined || !this.#accepted || this.#streams.size > 0) return;
    const cause = withoutStack(() => new ConnectionClosed(reason));
    this.#lose(cause);
    this.#incoming.loseAll(connectionLost(cause));
    this.#idle?.();
    this.#closed.resolve(reason);
  }
}

/** Why a stream is cut whose call was cancelled. */
const CANCELLED = streamError("OK", "the call was cancelled");

const notFound: Dispatch = ({ operation }) => {
  throw new CallError("NOT_FOUND", `operation not found: ${operation}`);
};
