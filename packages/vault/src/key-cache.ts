/**
 * Keys that were derived lately: bounded in number and time, wiped when they go.
 *
 * @module
 */

import { wipe } from "./wipe.ts";

/** A key of the cache's. Whoever gets one uses it at once and keeps no reference. */
export interface CachedKey {
  readonly privateKey: Uint8Array;
  /** Made when it is first asked for. */
  publicKey?: Uint8Array;
}

export interface KeyCacheOptions {
  /** How long a key stays, in milliseconds; looked at when the cache is used. */
  ttl: number;
  /** How many stay; the one that was unused longest goes first. */
  size: number;
  /** Milliseconds that never go back. */
  now: () => number;
}

export class KeyCache {
  readonly #options: KeyCacheOptions;
  /** In order of use, the latest at the end. */
  readonly #entries = new Map<string, { key: CachedKey; until: number }>();

  constructor(options: KeyCacheOptions) {
    this.#options = options;
  }

  /** How many there are, those included whose time is over. */
  get size(): number {
    return this.#entries.size;
  }

  /** The key called `name`, made by `derive` unless it is here. */
  use(name: string, derive: () => Uint8Array): CachedKey {
    const now = this.#options.now();
    const entry = this.#entries.get(name);
    if (entry !== undefined && now < entry.until) {
      this.#entries.delete(name);
      this.#entries.set(name, entry);
      return entry.key;
    }
    const key = { privateKey: derive() };
    this.#evict(now);
    this.#entries.set(name, { key, until: now + this.#options.ttl });
    return key;
  }

  /** Wipe all. */
  clear(): void {
    for (const name of this.#entries.keys()) this.#remove(name);
  }

  /** Let go of all whose time is over, and of the oldest until there is room for one. */
  #evict(now: number): void {
    for (const [name, { until }] of this.#entries) if (until <= now) this.#remove(name);
    for (const name of this.#entries.keys()) {
      if (this.#entries.size < this.#options.size) return;
      this.#remove(name);
    }
  }

  #remove(name: string): void {
    wipe(this.#entries.get(name)?.key.privateKey);
    this.#entries.delete(name);
  }
}
