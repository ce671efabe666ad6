/**
 * One stream's bytes to another, as `pipe` has it, for many of them: what waits is bounded in pieces too, is not waited
 * for to the last one, and its memory is given back when it has been written.
 *
 * @module
 */

import { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { holding } from "./holding.ts";
import { free, freeRead } from "./packet-cipher.ts";

/** Most that waits to be written, in bytes. */
const MAX_WAITING = 512 * 1024;
/** Pieces that wait at most: each is some hundred bytes, even of one. */
const MAX_PIECES = 1_024;
/**
 * Most that is taken at a time, in bytes, while nobody types: Node reads a socket up to 32 times in a turn, 2 MiB, and
 * everybody else waits.
 */
const LONG_TURN = 512 * 1024;
/**
 * The same while somebody does: one read of Node. The 99th of a hundred keystrokes beside a download is back after 4 ms,
 * and with long turns after 8; short ones cost a download 3 to 10 % more processor time.
 */
const SHORT_TURN = 64 * 1024;

const typing = holding();

/**
 * Somebody has a terminal: all that is read and passed on in this process goes by short turns, until this is disposed
 * of.
 */
export function shortTurns(): Disposable {
  return typing.hold();
}

/** @returns the most that is taken at a time, in bytes: `long`, while nobody types. */
export function turnLength(long: number): number {
  return typing.isHeld ? SHORT_TURN : long;
}

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
  let taken = 0;
  let pause: NodeJS.Immediate | undefined;

  function take(data: Buffer): void {
    pieces++;
    to.write(data, () => written(data));
    isFull = pieces >= MAX_PIECES || to.writableLength >= most;
    taken += data.length;
    if (taken >= turnLength(LONG_TURN)) pause ??= setImmediate(goOn);
    if (isFull || pause !== undefined) from.pause();
  }

  function goOn(): void {
    taken = 0;
    pause = undefined;
    if (!isFull) from.resume();
  }

  function written(data: Buffer): void {
    pieces--;
    // What is read of a socket is nobody else's, if nobody else listens.
    if (!(from instanceof Socket)) free(data);
    else if (from.listenerCount("data") === 1) freeRead(data);
    if (!isFull || pieces > MAX_PIECES / 2 || to.writableLength > most / 2) return;
    isFull = false;
    if (pause === undefined) from.resume();
  }

  from.on("data", take);
  return () => {
    isFull = false;
    clearImmediate(pause);
    from.off("data", take);
  };
}
