/**
 * A subscription of ours: items that have come, and who waits for them.
 *
 * @module
 */

import { remoteError } from "./call-error.ts";
import type { Subscription } from "./call-session.ts";
import type { Receiver } from "./outgoing-calls.ts";

export interface BufferedSubscriptionOptions {
  /** Items that the peer may send before it is told that there is room. */
  readonly window: number;
  /** Unread items above which the subscription ends: only a peer that knows no windows sends as many. */
  readonly unreadItems: number;
  /** Let the peer send more. */
  readonly credit: (items: number) => void;
  /** Have the peer stop. */
  readonly cancel: () => void;
}

interface Item {
  readonly output: unknown;
  readonly eventId: string | undefined;
}

type Result = IteratorResult<unknown, undefined>;

export class BufferedSubscription implements Subscription<unknown>, Receiver {
  readonly #options: BufferedSubscriptionOptions;
  /** Those before `#first` were read. */
  #items: Item[] = [];
  #first = 0;
  #waiting: PromiseWithResolvers<Result>[] = [];
  /** Read, and not told to the peer. */
  #unsaid = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #lastEventId: string | undefined;

  constructor(options: BufferedSubscriptionOptions) {
    this.#options = options;
  }

  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  next(): Promise<Result> {
    const item = this.#items[this.#first];
    if (item !== undefined) {
      this.#first++;
      if (this.#first === this.#items.length) {
        this.#items = [];
        this.#first = 0;
      }
      return Promise.resolve(this.#handOut(item.output, item.eventId));
    }
    const failure = this.#failure;
    if (failure !== undefined) {
      this.#failure = undefined;
      // oxlint-disable-next-line prefer-promise-reject-errors -- a signal's reason may be anything.
      return Promise.reject(failure.error);
    }
    if (this.#ended) return Promise.resolve(DONE);
    const waiting = Promise.withResolvers<Result>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  return(): Promise<Result> {
    if (!this.#ended) this.#options.cancel();
    this.#discard();
    this.#failure = undefined;
    this.end();
    return Promise.resolve(DONE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  output(output: unknown, eventId: string | undefined): boolean {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      waiting.resolve(this.#handOut(output, eventId));
      return false;
    }
    this.#items.push({ output, eventId });
    const { unreadItems } = this.#options;
    if (this.#items.length - this.#first <= unreadItems) return false;
    this.#options.cancel();
    this.fail(remoteError("OVERFLOW", `more than ${unreadItems} items were not read`));
    return true;
  }

  end(): void {
    this.#ended = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve(DONE);
  }

  fail(error: unknown): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#failure = { error };
    } else {
      this.#waiting.shift();
      first.reject(error);
    }
    this.end();
  }

  cancel(reason: unknown): void {
    this.#discard();
    this.fail(reason);
  }

  #handOut(output: unknown, eventId: string | undefined): Result {
    if (eventId !== undefined) this.#lastEventId = eventId;
    this.#unsaid++;
    if (this.#unsaid * 2 >= this.#options.window && !this.#ended) {
      this.#options.credit(this.#unsaid);
      this.#unsaid = 0;
    }
    return { value: output, done: false };
  }

  #discard(): void {
    this.#items = [];
    this.#first = 0;
  }
}

const DONE: Result = Object.freeze({ value: undefined, done: true });
