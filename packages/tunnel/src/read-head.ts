/**
 * Read the head of a stream, and leave the rest in it.
 *
 * @module
 */

import type { Readable } from "node:stream";

/**
 * Take what `decode` finds off the front of `stream`; all that follows stays in it, and nothing reads it
 * until somebody does.
 *
 * `decode` gets all bytes so far and answers `undefined` until it has enough; what it waits for must be
 * bounded by itself, by throwing.
 *
 * @throws what `decode` throws; the error of the stream; an `Error` with code `ENDED` if the stream ends
 *   first, and the reason of `signal`.
 */
export function readHead<T extends { readonly length: number }>(
  stream: Readable,
  decode: (bytes: Buffer) => T | undefined,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let seen: Buffer | undefined;
    let waiting = false;

    const settle = (end: () => void) => {
      if (!waiting) return end();
      stream
        .off("readable", onReadable)
        .off("end", onEnd)
        .off("error", onError)
        .off("close", onEnd);
      signal?.removeEventListener("abort", onAbort);
      end();
    };
    const onError = (error: Error) => settle(() => reject(error));
    const onAbort = () => onError(signal!.reason as Error);
    const onEnd = () => onError(new HeadMissing("stream ended before its head was complete"));
    // Not `data`: who stops that by `pause()` leaves a stream that no later listener starts again.
    function onReadable(): boolean {
      const chunk = stream.read() as Buffer | null;
      if (chunk === null) return false;
      seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
      let head: T | undefined;
      try {
        head = decode(seen);
      } catch (error) {
        onError(error as Error);
        return true;
      }
      if (head === undefined) return false;
      const rest = seen.subarray(head.length);
      settle(() => {
        if (rest.length > 0) stream.unshift(rest);
        resolve(head);
      });
      return true;
    }

    if (signal?.aborted === true) return reject(signal.reason as Error);
    if (stream.errored) return reject(stream.errored);
    if (stream.destroyed || stream.readableEnded) return onEnd();
    // What has come is most often all of it: then nobody needs to listen.
    if (onReadable()) return;
    waiting = true;
    signal?.addEventListener("abort", onAbort, { once: true });
    stream.on("readable", onReadable).on("end", onEnd).on("error", onError).on("close", onEnd);
  });
}

/** The stream ended too early. */
export class HeadMissing extends Error {
  override readonly name = "HeadMissing";
  readonly code = "ENDED";
}
