/**
 * On a terminal all that a program prints comes as output, and beside it are the last words of its server, such as of a
 * right that was taken back. They are kept until the terminal is as it was: on an application's screen nobody reads them.
 *
 * @module
 */

import type { Readable, Writable } from "node:stream";

/** Most that is kept, in bytes: more than words, and it is not ours to keep. */
const MAX_HELD = 8_192;

/**
 * Keep what `from` brings, and have `to` get it, and all that follows, once it is let go or is too much. `to` is not
 * ended.
 *
 * @returns how to let it go; idempotent
 */
export function holdBack(from: Readable, to: Writable): () => void {
  const held: Buffer[] = [];
  let size = 0;
  let isOver = false;
  const hold = (bytes: Buffer): void => {
    held.push(bytes);
    size += bytes.length;
    if (size > MAX_HELD) release();
  };
  const release = (): void => {
    // Piped twice, all that follows would come twice.
    if (isOver) return;
    isOver = true;
    from.off("data", hold);
    for (const bytes of held.splice(0)) to.write(bytes);
    from.pipe(to, { end: false });
  };
  from.on("data", hold);
  return release;
}
