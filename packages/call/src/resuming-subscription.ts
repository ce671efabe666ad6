/**
 * A subscription that outlives its connection: on a new one it goes on behind the item that was last read.
 *
 * @module
 */

import { type CallError, isConnectionLost } from "./call-error.ts";
import type { Subscription } from "./caller.ts";

export interface Resumption {
  /** The subscriber's: nothing is begun once it has aborted. */
  readonly signal: AbortSignal | undefined;
  /**
   * Begin on the connection in use, or the next one, behind this item.
   *
   * @param signal aborts when nobody wants it any more.
   */
  begin(lastEventId: string | undefined, signal: AbortSignal): Promise<Subscription<unknown>>;
  /** Whether it can go on after this loss of its connection. Rejects with the signal's reason. */
  mayResume(lost: CallError, signal: AbortSignal): Promise<boolean>;
}

const DONE = { done: true, value: undefined } as const;

export class ResumingSubscription implements Subscription<unknown> {
  readonly #resumption: Resumption;
  readonly #left = new AbortController();
  /** Aborts when the subscriber has left, or its own signal does. */
  readonly #signal: AbortSignal;
  #current: Promise<Subscription<unknown>>;
  #lastEventId: string | undefined;
  #ended = false;
  /** The item that was asked for last: whoever asks next is answered behind it. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(resumption: Resumption) {
    const { signal } = resumption;
    this.#resumption = resumption;
    this.#signal =
      signal === undefined ? this.#left.signal : AbortSignal.any([signal, this.#left.signal]);
    this.#current = this.#begin();
  }

  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    const answer = this.#tail.then(() => this.#read());
    this.#tail = answer.catch(() => {});
    return answer;
  }

  async #read(): Promise<IteratorResult<unknown, undefined>> {
    while (!this.#ended) {
      try {
        const current = await this.#current;
        const result = await current.next();
        if (result.done === true) this.#ended = true;
        else this.#lastEventId = current.lastEventId ?? this.#lastEventId;
        return result;
      } catch (error) {
        if (this.#ended) break;
        try {
          if (
            !isConnectionLost(error) ||
            !(await this.#resumption.mayResume(error, this.#signal))
          ) {
            throw error;
          }
        } catch (final) {
          // It may have been left meanwhile.
          if (this.#ended) break;
          this.#ended = true;
          throw final;
        }
        this.#current = this.#begin();
      }
    }
    return DONE;
  }

  #begin(): Promise<Subscription<unknown>> {
    const begun = this.#resumption.begin(this.#lastEventId, this.#signal);
    // Whoever reads first is told.
    begun.catch(() => {});
    return begun;
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    this.#ended = true;
    this.#left.abort();
    const current = await this.#current.catch(() => undefined);
    await current?.return();
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
