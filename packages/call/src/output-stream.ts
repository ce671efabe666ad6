/**
 * What a subscription's handler answers with: outputs that are pulled one by one, as the subscriber takes them.
 *
 * @module
 */

/** Outputs to come. Made by {@linkcode stream}, so that an output which can be iterated is not taken for one. */
export class OutputStream {
  readonly items: AsyncIterable<unknown> | Iterable<unknown>;

  constructor(items: AsyncIterable<unknown> | Iterable<unknown>) {
    this.items = items;
  }
}

/**
 * Answer a call with each of `items`, then `call.completed`; an error thrown on the way is the last item.
 *
 * An item is asked for when the subscriber has room for it; `return()` of the iterator is called when the
 * subscription ends before the items do.
 */
export function stream(items: AsyncIterable<unknown> | Iterable<unknown>): OutputStream {
  return new OutputStream(items);
}

/** An output with a name to go on from. Made by {@linkcode withEventId}. */
export class EventItem<T = unknown> {
  readonly eventId: string;
  readonly output: T;

  constructor(eventId: string, output: T) {
    this.eventId = eventId;
    this.output = output;
  }
}

/** Yield `output` under `eventId`: who subscribes again may say that this is the last one it has seen. */
export function withEventId<T>(eventId: string, output: T): EventItem<T> {
  return new EventItem(eventId, output);
}
