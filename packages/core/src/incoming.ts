/**
 * Things that come from a peer and wait to be accepted: streams, connections.
 *
 * @module
 */

import type { WaitOptions } from "./connection.ts";

interface Waiter<T> {
  settle(item: T | undefined): void;
}

/** A queue with an end. Its bound is the sender's: a peer may have only so many streams open. */
export class Incoming<T> {
  #items: T[] = [];
  readonly #waiters = new Set<Waiter<T>>();
  #ended = false;

  /** How many wait to be taken. */
  get size(): number {
    return this.#items.length;
  }

  /** @returns false if nobody will take it any more. */
  add(item: T): boolean {
    if (this.#ended) return false;
    for (const waiter of this.#waiters) {
      waiter.settle(item);
      return true;
    }
    this.#items.push(item);
    return true;
  }

  /**
   * The next one; `undefined` once there will be none.
   *
   * @throws the reason of `signal`, when it aborts first.
   */
  async take({ signal }: WaitOptions = {}): Promise<T | undefined> {
    signal?.throwIfAborted();
    const item = this.#items.shift();
    if (item !== undefined || this.#ended) return item;
    return await new Promise<T | undefined>((resolve, reject) => {
      const waiter: Waiter<T> = {
        settle: (taken) => {
          forget();
          resolve(taken);
        },
      };
      const onabort = (): void => {
        forget();
        reject(signal?.reason as Error);
      };
      const forget = (): void => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", onabort);
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onabort, { once: true });
    });
  }

  /** No more will come: what has come can be taken still, and who waits gets `undefined`. */
  end(): void {
    this.#ended = true;
    for (const waiter of this.#waiters) waiter.settle(undefined);
  }

  /** `end()`, and nobody takes what has come. @returns that. */
  discard(): T[] {
    this.end();
    return this.#items.splice(0);
  }
}
