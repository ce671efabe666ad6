/**
 * When a transport is read: not while answers to it pile up, and by turns while somebody types, on whatever connection of
 * the process. Node reads a socket up to 32 times in a turn, 2 MiB: the 99th of a hundred keystrokes beside an upload on
 * another connection was back after 7 to 8 ms, and is after 4.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { turnLength } from "../pass-on.ts";

/** With so much of answers waiting, in bytes, nothing more is read. */
const ANSWER_QUEUE = 2 ** 20;

/** @returns what hears of each piece that has been read, with its length in bytes. */
export function readByTurns(transport: Duplex): (length: number) => void {
  let read = 0;
  let pause: NodeJS.Immediate | undefined;

  function goOn(): void {
    read = 0;
    pause = undefined;
    if (!hasAnswers()) transport.resume();
  }

  function hasAnswers(): boolean {
    return transport.writableLength > ANSWER_QUEUE;
  }

  transport.on("drain", () => {
    if (pause === undefined) transport.resume();
  });
  return (length) => {
    read += length;
    if (read >= turnLength(Number.POSITIVE_INFINITY)) pause ??= setImmediate(goOn);
    if (pause !== undefined || hasAnswers()) transport.pause();
  };
}
