/**
 * An SSH connection carried from a stream to a pair of them, with an eye on the host key that the server shows.
 *
 * @module
 */

import type { Duplex, Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { hostKeySight } from "@alknet/ssh/host-key-sight";

/** Hears of the host key, once. */
export interface HostKeyWatch {
  /** Settles before the piece with the end of the key is handed on. */
  readonly onhostkey: (key: Uint8Array) => Promise<void>;
  readonly onlost: (why: string) => void;
}

/**
 * Carry both directions until the server has ended its own, or nobody is there to read `output`: SSH is over then. The
 * end of `input` is passed on.
 *
 * Rejects with what ended the stream in any other way.
 */
export async function carrySsh(
  stream: Duplex,
  { input, output }: { readonly input: Readable; readonly output: Writable },
  watch: HostKeyWatch,
): Promise<void> {
  input.on("error", (error) => stream.destroy(error)).pipe(stream);
  // Without a reader nothing would read on to the end of the stream, and its end is what is waited for.
  const abandon = (): void => void stream.destroy();
  output.on("error", abandon).once("close", abandon);
  if (output.destroyed) abandon();
  try {
    await untilHostKey(stream, output, watch);
    stream.pipe(output, { end: false });
    await finished(stream, { writable: false });
    // It has handed all on; whether all has left is for the end of the program to wait for.
  } catch (error) {
    if (!output.destroyed) throw error;
  } finally {
    output.off("error", abandon).off("close", abandon);
  }
}

/** Hand on what comes, up to and with the piece that has the host key. */
async function untilHostKey(stream: Duplex, output: Writable, watch: HostKeyWatch): Promise<void> {
  const look = hostKeySight();
  for await (const piece of stream.iterator({ destroyOnReturn: false })) {
    const sight = look(piece as Uint8Array);
    if (sight.kind === "seen") await watch.onhostkey(sight.hostKey);
    if (sight.kind === "lost") watch.onlost(sight.reason);
    output.write(piece);
    if (sight.kind !== "looking") return;
  }
}
