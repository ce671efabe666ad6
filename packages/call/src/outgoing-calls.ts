/**
 * Our calls that wait for the peer.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { Clock } from "@alknet/core/clock";
import { CallDeadlines, type Deadline } from "./call-deadlines.ts";
import { type CallError, connectionLost, remoteError } from "./call-error.ts";
import type { CallStream } from "./call-stream.ts";
import type { CallOptions } from "./caller.ts";
import { asciiText, encodeAborted, encodeRequested, type IdText } from "./wire/encode-event.ts";
import type { Failed, Responded } from "./wire/event.ts";
import type { Frame } from "./wire/frame.ts";

/** Time that a call has if its caller does not say, in milliseconds: the peer takes it for granted. */
export const CALL_TIME = 30_000;

/** What becomes of a call. */
export interface Receiver {
  /** @param bytes length of the event. @returns true if nothing more is wanted. */
  output(output: unknown, eventId: string | undefined, bytes: number): boolean;
  /** There is no more. */
  end(): void;
  /** It failed; what came before may still be wanted. */
  fail(error: unknown): void;
  /** It was cancelled, or has timed out: here nobody waits for what came before. */
  cancel(reason: unknown): void;
}

/** A call of ours, from its request to its last answer. */
export class Outgoing implements Deadline {
  readonly id: string;
  readonly idText: IdText;
  readonly receiver: Receiver;
  /** When it is due, by the clock's `now()`; `Infinity`: never. */
  readonly key: number;
  heapIndex = -1;
  /** Where the request went. */
  stream: CallStream | undefined;
  /** Number of the request among the frames of `stream`. */
  frame = -1;
  ended = false;
  signal: AbortSignal | undefined;
  onabort: (() => void) | undefined;

  constructor(id: string, receiver: Receiver, key: number) {
    this.id = id;
    this.idText = `"${id}"`;
    this.receiver = receiver;
    this.key = key;
  }
}

export interface OutgoingCallsOptions {
  readonly clock: Clock;
  /** Calls that may be open at once. */
  readonly limit: number;
  /** Sent with each call that brings none of its own. */
  readonly authToken: string | undefined;
  /** Send the request of `call`, and tell it where that went. */
  readonly send: (call: Outgoing, frame: Frame, isSubscription: boolean) => void;
  /** Have the peer stop what it does for `call`. */
  readonly abort: (call: Outgoing) => void;
  /** Called when a call has ended, before it is aborted if it is. */
  readonly onend: (call: Outgoing) => void;
}

export class OutgoingCalls {
  readonly #options: OutgoingCallsOptions;
  readonly #table = new Map<string, Outgoing>();
  readonly #deadlines: CallDeadlines<Outgoing>;
  /**
   * Ids of ours differ from those of the peer: `call.aborted` does not say whose call it means. They
   * are ASCII and need no quoting.
   */
  readonly #prefix = `${randomBytes(6).toString("base64url")}-`;
  #count = 0;
  /** The call that was last cancelled, or whose outputs came when nobody wanted them. */
  #stray: string | undefined;

  constructor(options: OutgoingCallsOptions) {
    this.#options = options;
    this.#deadlines = new CallDeadlines(options.clock, (call) =>
      this.cancel(call, remoteError("TIMEOUT", "request timed out")),
    );
  }

  get size(): number {
    return this.#table.size;
  }

  get deadlines(): number {
    return this.#deadlines.size;
  }

  /**
   * @param timeout in milliseconds; `Infinity`: none.
   * @param window of a subscription, in items.
   * @throws {CallError} `LIMIT`.
   * @throws the reason of the signal; what the input cannot be sent for.
   */
  begin(
    receiver: Receiver,
    operation: string,
    input: unknown,
    options: CallOptions & { readonly lastEventId?: string | undefined },
    timeout: number,
    window: number | undefined,
  ): Outgoing {
    const { clock, limit } = this.#options;
    const { signal, authToken = this.#options.authToken, forwardedFor, lastEventId } = options;
    signal?.throwIfAborted();
    if (this.#table.size >= limit) {
      throw remoteError("LIMIT", `too many calls are open: expected at most ${limit}`);
    }
    const key = timeout === Infinity ? Infinity : clock.now() + timeout;
    const call = new Outgoing(this.#prefix + ++this.#count, receiver, key);
    const isGranted = timeout === Infinity || (window === undefined && timeout === CALL_TIME);
    const frame = encodeRequested(call.idText, {
      operation,
      input,
      authToken,
      forwardedFor,
      window,
      timeout: isGranted ? undefined : timeout,
      lastEventId,
    });
    this.#table.set(call.id, call);
    this.#deadlines.add(call);
    this.#options.send(call, frame, window !== undefined);
    if (signal !== undefined) {
      call.signal = signal;
      call.onabort = () => this.cancel(call, signal.reason);
      signal.addEventListener("abort", call.onabort, { once: true });
    }
    return call;
  }

  /** @param bytes length of the event. */
  responded(stream: CallStream, { id, output, eventId }: Responded, bytes: number): void {
    const call = this.#table.get(id);
    if (call === undefined) return this.#stop(stream, id);
    if (call.receiver.output(output, eventId, bytes)) this.#end(call);
  }

  completed(id: string): void {
    const call = this.#table.get(id);
    if (call === undefined) return;
    this.#end(call);
    call.receiver.end();
  }

  failed({ id, code, message, retryable, details }: Failed): void {
    const call = this.#table.get(id);
    if (call !== undefined) this.#fail(call, remoteError(code, message, { retryable, details }));
  }

  /** The peer has cancelled it. */
  aborted(id: string): void {
    const call = this.#table.get(id);
    if (call !== undefined) this.#fail(call, remoteError("INTERNAL", "request cancelled"));
  }

  /** Nobody wants the answer any more: have the peer stop. */
  cancel(call: Outgoing, reason: unknown): void {
    if (call.ended) return;
    this.drop(call);
    call.receiver.cancel(reason);
  }

  /** `cancel()` of what its receiver has done with. */
  drop(call: Outgoing): void {
    if (call.ended) return;
    this.#end(call);
    this.#stray = call.id;
    this.#options.abort(call);
  }

  /** Nobody wants any answer. */
  cancelAll(error: CallError): void {
    for (const call of this.#table.values()) {
      this.drop(call);
      call.receiver.fail(error);
    }
  }

  /** What they were sent on is gone. */
  lose(calls: Iterable<Outgoing>, error: CallError): void {
    for (const call of calls) this.#fail(call, error);
  }

  /** The connection is gone. Takes no more calls. */
  loseAll(cause?: unknown): void {
    this.lose(this.#table.values(), connectionLost(cause));
    this.#deadlines.close();
  }

  /**
   * Outputs that nobody waits for: a subscription was called, and would go on for nobody. Told once, as far as
   * one id is remembered, and only while the peer takes what we send.
   */
  #stop(stream: CallStream, id: string): void {
    if (id === this.#stray || !id.startsWith(this.#prefix) || stream.outgoingBytes > 0) return;
    this.#stray = id;
    if (!stream.unusable) stream.send(encodeAborted(asciiText(id)));
  }

  #fail(call: Outgoing, error: unknown): void {
    this.#end(call);
    call.receiver.fail(error);
  }

  #end(call: Outgoing): void {
    if (call.ended) return;
    call.ended = true;
    this.#table.delete(call.id);
    this.#deadlines.remove(call);
    this.#options.onend(call);
    if (call.onabort !== undefined) call.signal?.removeEventListener("abort", call.onabort);
  }
}
