/**
 * Items of a subscription that can be resumed: each has an id, and who comes back says which it saw last.
 *
 * @module
 */

/** An item with its id, as a handler yields it. */
export class EventWithId<T> {
  /** At most 256 characters. */
  readonly id: string;
  readonly item: T;

  constructor(id: string, item: T) {
    this.id = id;
    this.item = item;
  }
}

/**
 * Give an item of a subscription an id: `yield withEventId("42", item)`. After a lost connection the
 * subscriber comes back with it, as `context.lastEventId`.
 *
 * @throws {RangeError} if the id is empty or longer than 256 characters.
 */
export function withEventId<T>(id: string, item: T): EventWithId<T> {
  if (id.length < 1 || id.length > 256) {
    throw new RangeError(`cannot use event id of ${id.length} characters: expected 1 to 256`);
  }
  return new EventWithId(id, item);
}
