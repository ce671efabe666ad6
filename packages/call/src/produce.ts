/**
 * The items of a subscription, taken from its handler one by one as the subscriber and the stream have room.
 *
 * @module
 */

import type { Incoming } from "./incoming.ts";
import type { OutputStream } from "./output-stream.ts";

/** Items of one subscription after which others have their turn, even if handler and transport never wait. */
const TURN = 256;

export interface ItemSink {
  /** @throws if the item cannot be sent; that ends the subscription. */
  send(item: unknown): void;
  /** Whether the stream takes more. What is asked for then may still come when it does not: one item. */
  hasRoom(): boolean;
  /** The handler has failed after nobody wanted its items any more. */
  failedLate(error: unknown): void;
}

/**
 * Resolves when there are no more items, or when `call` has ended. The iterator is returned in any case.
 *
 * @throws what the iterator does; what `sink.send` does.
 */
export async function produce(
  call: Incoming,
  items: OutputStream["items"],
  sink: ItemSink,
): Promise<void> {
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  // At once, and not when the item has come that is waited for.
  call.onabort(() => void giveUp(iterator, sink));
  let sent = 0;
  while (!call.ended) {
    if (call.credit === 0) {
      await call.credited();
    } else if (!sink.hasRoom()) {
      await call.stream.drained();
      if (!call.ended) await turn(call);
    } else {
      const { done = false, value } = await iterator.next();
      if (done) return;
      if (call.ended) return;
      call.credit--;
      try {
        sink.send(value);
      } catch (error) {
        await giveUp(iterator, sink);
        throw error;
      }
      if (++sent % TURN === 0) await turn(call);
    }
  }
}

/** Resolves when others have had theirs, or the call has ended. */
async function turn(call: Incoming): Promise<void> {
  setImmediate(() => call.wake());
  await call.credited();
}

async function giveUp(
  iterator: AsyncIterator<unknown> | Iterator<unknown>,
  sink: ItemSink,
): Promise<void> {
  try {
    await iterator.return?.();
  } catch (error) {
    sink.failedLate(error);
  }
}
