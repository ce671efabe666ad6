/**
 * One client of an SSH agent: messages off a stream, answers onto it, one at a time and in order.
 *
 * All of it is bounded: a message by its length before memory is taken for it, what was read ahead by a chunk, what
 * was not taken off by one answer, and both by time.
 *
 * @module
 */

import { once } from "node:events";
import type { Duplex } from "node:stream";
import { createMessages } from "./wire/length-prefixed.ts";
import { MAX_MESSAGE } from "./wire/ssh-agent.ts";
import { wipe } from "./wipe.ts";

/** For a message that was begun to come, and for an answer to be taken, in milliseconds. */
const DEADLINE = 30_000;

/** @param signal aborts when the client has gone. @throws if the client is to be dropped. */
export type Answer = (message: Uint8Array, signal: AbortSignal) => Uint8Array | Promise<Uint8Array>;

/**
 * Answer what comes on `stream`, until it ends or breaks the protocol.
 *
 * @param ondropped hears why a client was dropped.
 */
export function serveAgentConnection(
  stream: Duplex,
  answer: Answer,
  ondropped: (reason: Error) => void,
): void {
  const messages = createMessages(MAX_MESSAGE);
  const gone = new AbortController();
  let busy = false;
  let ended = false;
  let deadline: NodeJS.Timeout | undefined;

  stream.on("data", (chunk: Buffer) => {
    messages.push(chunk);
    // One chunk is read ahead, so that the end of a client that waits is seen.
    if (busy) stream.pause();
    else void work();
  });
  stream.once("end", () => {
    ended = true;
    gone.abort();
    if (!busy) stream.end();
  });
  stream.once("close", () => {
    clearTimeout(deadline);
    gone.abort();
    messages.wipe();
  });
  stream.on("error", () => {});

  async function work(): Promise<void> {
    busy = true;
    try {
      await answerAll();
    } catch (error) {
      if (!stream.destroyed) ondropped(error as Error);
      stream.destroy();
    }
    busy = false;
    if (ended) stream.end();
    else stream.resume();
  }

  async function answerAll(): Promise<void> {
    for (let message = messages.take(); message !== undefined; message = messages.take()) {
      clearTimeout(deadline);
      try {
        const given = answer(message, gone.signal);
        const bytes = given instanceof Uint8Array ? given : await given;
        if (stream.destroyed) return;
        if (!stream.write(bytes)) await drained();
      } finally {
        // A passphrase or a key may have been in it.
        wipe(message);
      }
      // Who sends many at once lets others in between.
      if (messages.waiting) await new Promise(setImmediate);
    }
    clearTimeout(deadline);
    if (messages.begun) deadline = dropAfter("it has not sent the rest of a message");
  }

  async function drained(): Promise<void> {
    const late = dropAfter("it does not read");
    try {
      await once(stream, "drain", { signal: gone.signal });
    } finally {
      clearTimeout(late);
    }
  }

  function dropAfter(reason: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      ondropped(new Error(`${reason} for ${DEADLINE} ms`));
      stream.destroy();
    }, DEADLINE);
    return timer.unref();
  }
}
