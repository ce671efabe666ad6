/**
 * Join a TCP socket and a flow: bytes, half-close, reset and back-pressure, both ways.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { Socket } from "node:net";
import { resetSocket } from "@alknet/core/reset-socket";
import type { FramedFlow } from "./framed.ts";
import { takeReads } from "./large-reads.ts";
import { MAX_QUEUED } from "./max-queued.ts";
import { FlowCut, FlowReset } from "./reset.ts";

/** How a joined flow came to its end. */
export type FlowEnd =
  /** Both directions ended in order. */
  | { readonly kind: "ended" }
  /** One side broke, and the other was broken for it. */
  | { readonly kind: "reset"; readonly by: "socket" | "flow" | "signal"; readonly error: Error };

export interface JoinOptions {
  /** Its abort resets both sides, with its reason. */
  signal?: AbortSignal | undefined;
  /**
   * The far side's consent. Bytes of the socket go out before it, which saves a round trip; nothing is
   * read from the flow until then. When it rejects, both sides are reset.
   */
  opened?: Promise<unknown> | undefined;
}

/**
 * Copy until both directions have ended, or either side breaks. Takes over both: when this resolves they
 * are closed. Never rejects.
 *
 * `socket` must have been made with `allowHalfOpen`.
 *
 * An end becomes an end; an error of the socket becomes a reset of the flow with code 0, and a reset of
 * the flow a TCP RST. Neither side is read while the other has no room.
 */
export function join(socket: Socket, flow: Duplex, options: JoinOptions = {}): Promise<FlowEnd> {
  const { signal, opened } = options;
  return new Promise((resolve) => {
    let end: FlowEnd = { kind: "ended" };
    let open = 2;

    function broken(by: "socket" | "flow" | "signal", error: Error): void {
      if (end.kind === "ended") end = { kind: "reset", by, error };
      if (!flow.destroyed)
        flow.destroy(by === "socket" ? new FlowReset("flow reset", { cause: error }) : error);
      resetSocket(socket);
    }
    const aborted = () => broken("signal", signal!.reason as Error);
    function closed(): void {
      if (--open > 0) return;
      signal?.removeEventListener("abort", aborted);
      resolve(end);
    }

    // Not `pipeline`: it puts a listener for every event on both, costs four closures and two promises a
    // flow, and turns the reset of one direction into a clean end of the other.
    socket.on("error", (error) => broken("socket", error));
    flow.on("error", (error) => broken("flow", error));
    for (const [by, side] of [
      ["socket", socket],
      ["flow", flow],
    ] as const) {
      const onClose = () => {
        if (!(side.readableEnded && side.writableFinished)) {
          broken(by, new FlowCut(`${by} closed before its end`));
        }
        closed();
      };
      if (side.closed) onClose();
      else side.once("close", onClose);
    }
    if (signal?.aborted === true) return aborted();
    signal?.addEventListener("abort", aborted, { once: true });

    copy(socket, flow);
    if (opened === undefined) copy(flow, socket);
    else
      opened.then(
        () => copy(flow, socket),
        (error: Error) => broken("flow", error),
      );
  });
}

/** Copy one direction, as fast as `to` takes it. */
function copy(from: Duplex, to: Duplex): void {
  let corked = false;
  // TLS and small reads come in 16 KiB pieces. What one turn of the loop brought leaves as one vectored
  // write: 20 % more on loopback than a write for each piece.
  const flush = () => {
    if (!corked) return;
    corked = false;
    to.uncork();
  };
  from.on("data", (chunk: Buffer) => {
    if (!corked) {
      corked = true;
      to.cork();
      setImmediate(flush);
    }
    if (to.write(chunk) || to.writableLength < MAX_QUEUED) return;
    flush();
    // Only what the kernel or the peer did not take counts.
    if (to.writableLength >= MAX_QUEUED) from.pause();
  });
  if (takesNow(to)) takeReads(from, (bytes) => to.writeNow(bytes));
  to.on("drain", () => from.resume());
  from.once("end", () => to.end());
  from.resume();
}

function takesNow(stream: Duplex): stream is FramedFlow {
  return "writeNow" in stream;
}
