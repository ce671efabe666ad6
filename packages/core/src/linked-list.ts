/**
 * A doubly linked list: add at the end, take from anywhere, each in constant time.
 *
 * A `Set` keeps order too, but its first entry is found by stepping over all that were deleted before it.
 *
 * @module
 */

/** A place in a list; hand it back to {@linkcode LinkedList.remove}. */
export interface ListNode<T> {
  readonly value: T;
  before: ListNode<T> | undefined;
  after: ListNode<T> | undefined;
}

export class LinkedList<T> {
  #first: ListNode<T> | undefined;
  #last: ListNode<T> | undefined;

  get first(): T | undefined {
    return this.#first?.value;
  }

  /** As they are now, in their order. */
  toArray(): T[] {
    const values: T[] = [];
    for (let node = this.#first; node !== undefined; node = node.after) values.push(node.value);
    return values;
  }

  push(value: T): ListNode<T> {
    const node: ListNode<T> = { value, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.after = node;
    this.#last = node;
    return node;
  }

  /** `node` must be in this list; it is the caller's to know, and once only. */
  remove(node: ListNode<T>): void {
    if (node.before === undefined) this.#first = node.after;
    else node.before.after = node.after;
    if (node.after === undefined) this.#last = node.before;
    else node.after.before = node.before;
    // One that has grown old would keep all that came after it from being collected while young.
    node.before = undefined;
    node.after = undefined;
  }
}
