/**
 * Bytes in groups of five bits, from the top: what every base32 is made of.
 *
 * @module
 */

/** Group `index`; zeros follow the last byte. A number and no array, for the bytes may be secret. */
export function fiveBits(bytes: Uint8Array, index: number): number {
  const at = index * 5;
  const [high = 0, low = 0] = bytes.subarray(at >>> 3, (at >>> 3) + 2);
  return (((high << 8) | low) >>> (11 - (at & 7))) & 31;
}

/** How many groups hold `length` bytes. */
export function fiveBitGroups(length: number): number {
  return Math.ceil((length * 8) / 5);
}
