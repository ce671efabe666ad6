/**
 * One stream's bytes to another, as `pipe` has it, for many of them: what waits is bounded in pieces too, is not waited
 * for to the last one, and its memory is given back when it has been written.
 *
 * @module
 */

import { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { free, freeRead } from "./packet-cipher.ts";

/** Most that waits to be written, in bytes. */
const MAX_WAITING = 512 * 1024;
/** Pieces that wait at most: each is some hundred bytes, even of one. */
const MAX_PIECES = 1_024;

/**
 * Write what `from` brings to `to`, without its end. An error of `to` is its owner's to hear: what comes after it goes
 * nowhere.
 *
 * @param most that waits to be written, in bytes.
 * @returns how to stop that.
 */
export function passOn(from: Readable, to: Writable, most: number = MAX_WAITING): () => void {
  let pieces = 0;
  let isFull = false;

  function take(data: Buffer): void {
    pieces++;
    to.write(data, () => written(data));
    isFull = pieces >= MAX_PIECES || to.writableLength >= most;
    if (isFull) from.pause();
  }

  function written(data: Buffer): void {
    pieces--;
    // What is read of a socket is nobody else's, if nobody else listens.
    if (!(from instanceof Socket)) free(data);
    else if (from.listenerCount("data") === 1) freeRead(data);
    if (!isFull || pieces > MAX_PIECES / 2 || to.writableLength > most / 2) return;
    isFull = false;
    from.resume();
  }

  from.on("data", take);
  return () => {
    isFull = false;
    from.off("data", take);
  };
}
