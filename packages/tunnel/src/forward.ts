/**
 * Forward a local port: each connection to it becomes a flow to one target on the far side.
 *
 * @module
 */

import { type Logger, silentLogger } from "@alknet/core/log";
import { join } from "./join.ts";
import { listen, type Listener, type ListenerOptions } from "./listener.ts";
import { beginFlow, type DialTunnel } from "./open-flow.ts";

export interface ForwardOptions extends ListenerOptions {
  /** What the far side connects to. */
  target: { readonly host: string; readonly port: number };
  logger?: Logger | undefined;
}

/**
 * Listen, and forward what connects. A connection whose flow is refused is reset; why goes to the log.
 *
 * The far side is dialled for each connection, so it may be away at first, go, and come back.
 */
export function forward(dial: DialTunnel, options: ForwardOptions): Promise<Listener> {
  const { target, logger = silentLogger, ...where } = options;
  return listen(where, async (socket, signal) => {
    const given = new AbortController();
    socket.once("close", () => given.abort(new Error("the local connection was closed")));
    try {
      const { flow, opened } = await beginFlow(dial, target, {
        signal: AbortSignal.any([signal, given.signal]),
      });
      const done = join(socket, flow, { signal, opened });
      await opened;
      const end = await done;
      if (end.kind === "reset") logger.debug({ by: end.by, err: end.error }, "flow reset");
    } catch (error) {
      if (signal.aborted || given.signal.aborted) return;
      // The listener tells which forward it was. Not the target: that is nobody's business but the user's.
      const local = `${socket.localAddress}:${socket.localPort}`;
      logger.warn({ local, err: error }, `not forwarded: ${(error as Error).message}`);
    }
  });
}
