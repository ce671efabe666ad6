/**
 * What comes in many small pieces, and waits for its reader, waits in few large ones.
 *
 * A window counts bytes, memory goes by pieces: two million packets of one byte each fit into a window of 2 MiB, and
 * are some hundred bytes each here.
 *
 * @module
 */

import type { Readable } from "node:stream";

/** Pieces below this are copied together while others wait before them, in bytes. */
const SMALL = 4_096;
/** What they are copied into, in bytes. */
const BLOCK = 64 * 1024;

/**
 * Have what is pushed to `readable` gathered, by other `push` and `read` of it.
 *
 * @returns how many bytes are gathered, which `readableLength` does not know of.
 */
export function gatherSmall(readable: Readable): () => number {
  const push = readable.push.bind(readable);
  const read = readable.read.bind(readable);
  let block: Buffer | undefined;
  let filled = 0;

  /** @returns whether there was something. */
  function flush(): boolean {
    if (block === undefined) return false;
    const gathered = block.subarray(0, filled);
    block = undefined;
    filled = 0;
    push(gathered);
    return true;
  }

  readable.push = (data: Buffer | null, encoding) => {
    const mayWait =
      data !== null && data.length < SMALL && (block !== undefined || readable.readableLength > 0);
    if (!mayWait || filled + data.length > BLOCK) flush();
    if (!mayWait) return push(data, encoding);
    block ??= Buffer.allocUnsafeSlow(BLOCK);
    block.set(data, filled);
    filled += data.length;
    return false;
  };
  readable.read = (size) => {
    const data: unknown = read(size);
    // A read of nothing is Node's own, of who wants no data yet.
    if (size === 0 || (data !== null && readable.readableLength > 0)) return data;
    const isMore = flush();
    return isMore && data === null ? (read(size) as unknown) : data;
  };
  return () => filled;
}
