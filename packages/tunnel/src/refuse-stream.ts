/**
 * Answer a request with a refusal.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { FlowRefused } from "./refused.ts";
import { encodeReply } from "./wire/open.ts";

/** Answer, and wait for the peer to have read it: closing at once could overtake the answer. */
export async function refuseStream(
  stream: Duplex,
  refused: FlowRefused,
  late: AbortSignal,
): Promise<void> {
  stream.end(encodeReply({ kind: "refused", refusal: refused.refusal, text: refused.message }));
  // What the peer sent ahead of the answer goes nowhere.
  stream.resume();
  await new Promise<void>((resolve) => {
    stream.once("close", () => resolve());
    if (stream.closed || late.aborted) resolve();
    late.addEventListener("abort", () => resolve(), { once: true });
  });
  stream.destroy();
}
