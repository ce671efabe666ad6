/**
 * How much of a flow without an end is passed on before others have their turn, for tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Readable, Writable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { passOn } from "./pass-on.ts";

const PIECE = 16_384;

/** The most of twenty turns, in bytes. */
export async function longestTurn(): Promise<number> {
  let made = 0;
  const from = new Readable({
    highWaterMark: PIECE,
    read() {
      made += PIECE;
      this.push(Buffer.alloc(PIECE));
    },
  });
  passOn(from, new Writable({ write: (_data, _encoding, done) => done() }));
  let longest = 0;
  for (let left = 20; left > 0; left--) {
    const before = made;
    await turn();
    assert.ok(made > before, "nothing was passed on in a turn");
    longest = Math.max(longest, made - before);
  }
  from.destroy();
  return longest;
}
