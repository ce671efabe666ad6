/**
 * Memory for secrets: where they live, and how they end.
 *
 * A secret array has an `ArrayBuffer` of its own. `new Uint8Array(32)` has not: V8 keeps small arrays inside its
 * heap, where the collector moves them about and leaves what was there (measured; so do `Buffer.from()`, whose
 * pool is shared with everybody, hex strings and every other string).
 *
 * @module
 */

/** `length` zero bytes at an address of their own, which {@linkcode wipe} really overwrites. */
export function secretBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/** A copy of `bytes` in {@linkcode secretBytes}. The original is the caller's to wipe. */
export function secretCopy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = secretBytes(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Overwrite with zeros. Twice does no harm; `undefined` is passed over, so that a `finally` can name all it may hold. */
export function wipe(...arrays: readonly (Uint8Array | undefined)[]): void {
  for (const array of arrays) array?.fill(0);
}
