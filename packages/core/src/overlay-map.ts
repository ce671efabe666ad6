/**
 * A map that is never changed: with a few entries replaced it is another map, which shares the rest.
 *
 * Look-up is that of one `Map` while nothing is replaced, of two at most. What was replaced is merged once
 * it is an eighth of all, so that a change costs far less than a copy.
 *
 * @module
 */

/** Fewer replaced entries than this are not worth a merge. */
const MERGE_ABOVE = 64;

export class OverlayMap<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  /** Replaced entries; `undefined`: there is none any more. */
  readonly #overlay: ReadonlyMap<K, V | undefined>;

  /** @param base is taken over: it must not change any more. */
  constructor(base: ReadonlyMap<K, V>, overlay: ReadonlyMap<K, V | undefined> = new Map()) {
    this.#base = base;
    this.#overlay = overlay;
  }

  get(key: K): V | undefined {
    const overlay = this.#overlay;
    if (overlay.size > 0) {
      const replaced = overlay.get(key);
      if (replaced !== undefined || overlay.has(key)) return replaced;
    }
    return this.#base.get(key);
  }

  /** A map in which `changes` hold; `undefined` takes an entry away. */
  with(changes: ReadonlyMap<K, V | undefined>): OverlayMap<K, V> {
    if (changes.size === 0) return this;
    const overlay = new Map([...this.#overlay, ...changes]);
    if (overlay.size <= Math.max(MERGE_ABOVE, this.#base.size / 8)) {
      return new OverlayMap(this.#base, overlay);
    }
    const merged = new Map(this.#base);
    for (const [key, value] of overlay) {
      if (value === undefined) merged.delete(key);
      else merged.set(key, value);
    }
    return new OverlayMap(merged);
  }

  *values(): Generator<V> {
    for (const [key, value] of this.#base) {
      if (!this.#overlay.has(key)) yield value;
    }
    for (const value of this.#overlay.values()) {
      if (value !== undefined) yield value;
    }
  }
}
