/**
 * The end of a client that is not served.
 *
 * @module
 */

import type { Duplex } from "node:stream";

/** Say why (RFC 1928 §6), then close; `late` aborts when there has been time enough. */
export async function hangUp(
  stream: Duplex,
  answer: Uint8Array | undefined,
  late: AbortSignal,
): Promise<void> {
  if (stream.destroyed) return;
  if (stream.writable) stream.end(answer ?? "");
  // Closing with bytes unread would be a reset, which can overtake the answer.
  stream.resume();
  await new Promise<void>((resolve) => {
    stream.once("close", () => resolve());
    late.addEventListener("abort", () => resolve(), { once: true });
  });
  stream.destroy();
}
