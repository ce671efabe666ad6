/**
 * One call of the peer, from its request to its answer.
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import type { CallStream } from "./call-stream.ts";
import type { CallDeadlines, Deadline } from "./call-deadlines.ts";
import type { CallSession, IncomingCall } from "./session.ts";
import { asciiText, type IdText } from "./wire/encode-event.ts";
import type { ForwardedFor, Requested } from "./wire/event.ts";

/** What a call needs of those it belongs to. */
export interface IncomingHost {
  readonly session: CallSession;
  /** Milliseconds that a call has. */
  readonly callTime: number;
  readonly clock: Clock;
  readonly deadlines: CallDeadlines<Incoming>;
  /** End it with an error, if it has not ended. */
  fail(call: Incoming, error: unknown): void;
  /** A listener of `onabort` has thrown. */
  listenerFailed(call: Incoming, error: unknown): void;
}

export class Incoming implements IncomingCall, Deadline {
  readonly id: string;
  readonly idText: IdText;
  readonly operation: string;
  readonly input: unknown;
  readonly authToken: string | undefined;
  readonly forwardedFor: ForwardedFor | undefined;
  readonly lastEventId: string | undefined;
  readonly timeout: number | undefined;
  readonly window: number | undefined;
  readonly stream: CallStream;
  /** Length of the request, in bytes. */
  readonly bytes: number;
  /** Items that the subscriber has room for. */
  credit: number;
  /** It was answered, or aborted. */
  ended = false;
  /** It is in the tables: its handler has not answered at once. */
  listed = false;
  /** Who closes the session waits for its answer. */
  awaited = false;
  heapIndex = -1;
  readonly #host: IncomingHost;
  #arrived: number | undefined;
  #isSubscription = false;
  #reason: Error | undefined;
  #controller: AbortController | undefined;
  #listeners: ((reason: Error) => void)[] | undefined;
  #wake: (() => void) | undefined;

  constructor(host: IncomingHost, stream: CallStream, request: Requested, bytes: number) {
    this.#host = host;
    this.stream = stream;
    this.bytes = bytes;
    this.id = request.id;
    this.idText = asciiText(request.id);
    this.operation = request.operation;
    this.input = request.input;
    this.authToken = request.authToken;
    this.forwardedFor = request.forwardedFor;
    this.lastEventId = request.lastEventId;
    this.timeout = request.timeout;
    this.window = request.window;
    this.credit = request.window ?? Infinity;
  }

  get session(): CallSession {
    return this.#host.session;
  }

  /** When it is due, if ever. */
  get key(): number {
    // Read from the clock when somebody asks, which is at once if at all.
    this.#arrived ??= this.#host.clock.now();
    const most = this.#isSubscription ? Infinity : this.#host.callTime;
    return this.#arrived + Math.min(this.timeout ?? most, most);
  }

  get deadline(): number | undefined {
    const { key } = this;
    return key === Infinity ? undefined : key;
  }

  subscribed(): void {
    if (this.#isSubscription) return;
    const { deadlines } = this.#host;
    // Out of the heap while its place in there changes.
    deadlines.remove(this);
    this.#isSubscription = true;
    if (this.listed && !this.ended) deadlines.add(this);
  }

  get aborted(): boolean {
    return this.#reason !== undefined;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  onabort(listener: (reason: Error) => void): void {
    const reason = this.#reason;
    if (reason === undefined) (this.#listeners ??= []).push(listener);
    else queueMicrotask(() => this.#tell(listener, reason));
  }

  /** Resolves when the subscriber has room for more, or the call has ended. One waits at most. */
  async credited(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  fail(error: unknown): void {
    this.#host.fail(this, error);
  }

  /** Tell the handler that nobody waits for its answer. Once. */
  abort(reason: Error): void {
    this.#reason = reason;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) this.#tell(listener, reason);
    this.#controller?.abort(reason);
    this.wake();
  }

  #tell(listener: (reason: Error) => void, reason: Error): void {
    try {
      listener(reason);
    } catch (error) {
      this.#host.listenerFailed(this, error);
    }
  }
}
