/**
 * Data with its record headers in one buffer, and the memory for it.
 *
 * TLS would copy what comes as header and data apart into one such buffer, and allocate it each time.
 *
 * @module
 */

import { MAX_DATA } from "./wire/record.ts";

const HEADER = 2;

/** Bytes that `length` bytes of data take as records. */
function framedLength(length: number): number {
  return length + HEADER * Math.ceil(length / MAX_DATA);
}

/** Data that a slab has room for, in bytes. */
const ROOM = 8 * MAX_DATA;

/** What is no longer gets memory of its own: a peer that does not take it would hold a whole slab. */
const SMALL = MAX_DATA;

/** Slabs that wait for use, at most: 4 MiB. */
const MAX_FREE = 8;

const free: Buffer[] = [];

/** Records, and how to have their memory used again. */
export interface Packed {
  readonly records: Buffer;
  /** To be called once, when nobody reads `records` any more; undefined: it is not worth it. */
  readonly release: (() => void) | undefined;
}

/** Copy `chunks`, which hold `length` bytes together, into records: all full but the last. */
export function pack(chunks: readonly Uint8Array[], length: number): Packed {
  const size = framedLength(length);
  const slab = length > SMALL && length <= ROOM ? takeSlab() : undefined;
  const records = slab === undefined ? Buffer.allocUnsafe(size) : slab.subarray(0, size);
  let at = 0;
  let total = length;
  /** Data bytes that the current record has still room for. */
  let left = 0;
  for (const chunk of chunks) {
    for (let from = 0; from < chunk.length;) {
      if (left === 0) {
        left = Math.min(total, MAX_DATA);
        total -= left;
        records[at++] = left >> 8;
        records[at++] = left & 0xff;
      }
      const end = Math.min(chunk.length, from + left);
      records.set(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end), at);
      at += end - from;
      left -= end - from;
      from = end;
    }
  }
  return { records, release: slab === undefined ? undefined : () => giveBack(slab) };
}

function takeSlab(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(framedLength(ROOM));
}

function giveBack(slab: Buffer): void {
  if (free.length < MAX_FREE) free.push(slab);
}
