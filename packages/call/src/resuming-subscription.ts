/**
 * A subscription that outlives its connection: on a new one it goes on behind the item that was last read.
 *
 * @module
 */

import { isConnectionLost } from "./call-error.ts";
import type { Subscription } from "./call-session.ts";

export interface Resumption {
  /** Begin on the connection in use, or the next one, behind this item. */
  begin(lastEventId: string | undefined): Promise<Subscription<unknown>>;
  /** Whether the operation can go on behind an item. */
  mayResume(): Promise<boolean>;
}

const DONE = { done: true, value: undefined } as const;

export class ResumingSubscription implements Subscription<unknown> {
  readonly #resumption: Resumption;
  #current: Promise<Subscription<unknown>>;
  #lastEventId: string | undefined;
  #ended = false;
  /** The item that was asked for last: whoever asks next is answered behind it. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(resumption: Resumption) {
    this.#resumption = resumption;
    this.#current = resumption.begin(undefined);
    // Whoever reads first is told.
    this.#current.catch(() => {});
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
        if (!isConnectionLost(error) || !(await this.#resumes())) {
          this.#ended = true;
          throw error;
        }
        this.#current = this.#resumption.begin(this.#lastEventId);
        this.#current.catch(() => {});
      }
    }
    return DONE;
  }

  async #resumes(): Promise<boolean> {
    try {
      return await this.#resumption.mayResume();
    } catch {
      // What the reader wants to know is why it ended, and not why nobody could say more.
      return false;
    }
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    this.#ended = true;
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
