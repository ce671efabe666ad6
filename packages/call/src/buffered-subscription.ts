/**
 * A subscription of ours: items that have come, and who waits for them.
 *
 * @module
 */

import { remoteError } from "./call-error.ts";
import type { Subscription } from "./caller.ts";
import type { Receiver } from "./outgoing-calls.ts";

export interface BufferedSubscriptionOptions {
  /** Items that may be under way or unread, if they are small. */
  readonly window: number;
  /** Unread items above which the subscription ends: only a peer that knows no windows sends as many. */
  readonly unreadItems: number;
  /** Let the peer send more. */
  readonly credit: (items: number) => void;
  /** Have the peer stop. */
  readonly cancel: () => void;
}

/** Items that are asked for before it is known how large they are. */
export const FIRST_ITEMS = 16;

/** Bytes of items that may be under way or unread, as far as the largest so far tells. */
const WINDOW_BYTES = 16 * 2 ** 20;

/** Unread bytes above which the subscription ends: only a peer that knows no windows sends as many. */
const UNREAD_BYTES = 256 * 2 ** 20;

interface Item {
  readonly output: unknown;
  readonly eventId: string | undefined;
  readonly bytes: number;
}

type Result = IteratorResult<unknown, undefined>;

export class BufferedSubscription implements Subscription<unknown>, Receiver {
  readonly #options: BufferedSubscriptionOptions;
  /** Those before `#first` were read. */
  #items: Item[] = [];
  #first = 0;
  #bytes = 0;
  #waiting: PromiseWithResolvers<Result>[] = [];
  /** Items that the peer may send now. */
  #granted: number;
  #largest = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #lastEventId: string | undefined;

  constructor(options: BufferedSubscriptionOptions) {
    this.#options = options;
    this.#granted = Math.min(options.window, FIRST_ITEMS);
  }

  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  next(): Promise<Result> {
    const item = this.#items[this.#first];
    if (item !== undefined) {
      this.#bytes -= item.bytes;
      this.#advance();
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

  output(output: unknown, eventId: string | undefined, bytes: number): boolean {
    this.#granted--;
    if (bytes > this.#largest) this.#largest = bytes;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      waiting.resolve(this.#handOut(output, eventId));
      return false;
    }
    this.#items.push({ output, eventId, bytes });
    this.#bytes += bytes;
    const { unreadItems } = this.#options;
    const unread = this.#items.length - this.#first;
    if (unread > unreadItems || (this.#bytes > UNREAD_BYTES && unread > FIRST_ITEMS)) {
      this.#options.cancel();
      this.fail(remoteError("OVERFLOW", `${unread} items, ${this.#bytes} bytes, were not read`));
      return true;
    }
    this.#grant();
    return false;
  }

  end(): void {
    this.#ended = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve(DONE);
  }

  fail(error: unknown): void {
    const first = this.#waiting.shift();
    if (first === undefined) this.#failure = { error };
    else first.reject(error);
    this.end();
  }

  cancel(reason: unknown): void {
    this.#discard();
    this.fail(reason);
  }

  #handOut(output: unknown, eventId: string | undefined): Result {
    if (eventId !== undefined) this.#lastEventId = eventId;
    this.#grant();
    return { value: output, done: false };
  }

  /** Let the peer send more, once that is half a window. */
  #grant(): void {
    if (this.#ended) return;
    const fitting = Math.max(1, Math.floor(WINDOW_BYTES / this.#largest));
    const window = Math.min(this.#options.window, fitting);
    const room = window - this.#granted - (this.#items.length - this.#first);
    if (room * 2 < window) return;
    this.#granted += room;
    this.#options.credit(room);
  }

  /** Forget the first. Those that were read are kept while they are fewer than the rest: moving it has its price. */
  #advance(): void {
    this.#first++;
    if (this.#first * 2 < this.#items.length) return;
    this.#items.splice(0, this.#first);
    this.#first = 0;
  }

  #discard(): void {
    this.#items = [];
    this.#first = 0;
    this.#bytes = 0;
  }
}

const DONE: Result = Object.freeze({ value: undefined, done: true });
