/**
 * Dial no more often at a time than a node takes from one source.
 *
 * @module
 */

import type { TunnelStream } from "./open-flow.ts";

/** Dials a peer for one stream; `DialTunnel` is one. */
type Dial<T extends TunnelStream> = (options: { signal?: AbortSignal | undefined }) => Promise<T>;

/** A node lets a source have 16 handshakes pending; some of ours may still be, over there, when done here. */
const AT_FIRST = 8;

/** And 256, while it has an authenticated connection. */
const WHILE_CONNECTED = 128;

/**
 * `dial`, with those above a bound waiting for their turn: a browser that opens a hundred connections at once
 * means as many handshakes where each has a TCP connection of its own, and a node drops those that are
 * too many. Over QUIC, where they share one, a turn takes no time.
 */
export function inTurns<T extends TunnelStream>(dial: Dial<T>): Dial<T> {
  const waiting: (() => void)[] = [];
  let dialing = 0;
  /** Streams that stand: one is enough to be known over there. */
  let standing = 0;

  function next(): void {
    while (waiting.length > 0 && dialing < (standing > 0 ? WHILE_CONNECTED : AT_FIRST)) {
      dialing++;
      waiting.shift()!();
    }
  }

  return async ({ signal }): Promise<T> => {
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      next();
    });
    try {
      signal?.throwIfAborted();
      const found = await dial({ signal });
      standing++;
      found.stream.once("close", () => standing--);
      return found;
    } finally {
      dialing--;
      next();
    }
  };
}
