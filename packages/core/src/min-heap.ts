/**
 * A binary heap whose entries know their place, so that any of them can be removed in O(log n).
 *
 * @module
 */

export interface HeapEntry {
  /** What the heap is ordered by; must not change while the entry is in it. */
  readonly key: number;
  /** The heap's own; -1 while the entry is in none. */
  heapIndex: number;
}

export class MinHeap<T extends HeapEntry> {
  readonly #entries: T[] = [];

  /** The entry with the least key. */
  get first(): T | undefined {
    return this.#entries[0];
  }

  get size(): number {
    return this.#entries.length;
  }

  push(entry: T): void {
    this.#place(entry, this.#entries.length);
    this.#rise(entry.heapIndex);
  }

  /** Does nothing if `entry` is not in the heap. */
  remove(entry: T): void {
    const index = entry.heapIndex;
    if (index < 0) return;
    entry.heapIndex = -1;
    const last = this.#entries.pop()!;
    if (last === entry) return;
    this.#place(last, index);
    this.#rise(index);
    this.#sink(last.heapIndex);
  }

  #place(entry: T, index: number): void {
    this.#entries[index] = entry;
    entry.heapIndex = index;
  }

  #rise(index: number): void {
    const entry = this.#entries[index]!;
    while (index > 0) {
      const parent = this.#entries[(index - 1) >> 1]!;
      if (parent.key <= entry.key) break;
      const above = parent.heapIndex;
      this.#place(parent, index);
      index = above;
    }
    this.#place(entry, index);
  }

  #sink(index: number): void {
    const entry = this.#entries[index]!;
    for (;;) {
      const left = this.#entries[2 * index + 1];
      const right = this.#entries[2 * index + 2];
      const child = right !== undefined && right.key < left!.key ? right : left;
      if (child === undefined || child.key >= entry.key) break;
      const below = child.heapIndex;
      this.#place(child, index);
      index = below;
    }
    this.#place(entry, index);
  }
}
