/**
 * Forward a local port, or a Unix socket: each connection to it becomes a flow to one target on the far side.
 *
 * @module
 */

import { type Logger, silentLogger } from "@alknet/core/log";
import { join } from "./join.ts";
import {
  listen,
  type Listener,
  type ListenerOptions,
  listenUnix,
  type ServeLocal,
  type UnixListenerOptions,
} from "./listener.ts";
import { beginFlow, type DialTunnel, type FlowTarget } from "./open-flow.ts";
import { FlowRefused } from "./refused.ts";
import { stopWith } from "./stop.ts";

interface ForwardingOptions {
  /** What the far side connects to. */
  target: FlowTarget;
  logger?: Logger | undefined;
  /** Hears of each connection that could not be forwarded. @default a warning to `logger`, without the target */
  onfailure?: ((error: Error) => void) | undefined;
}

export interface ForwardOptions extends ListenerOptions, ForwardingOptions {}

export interface UnixForwardOptions extends UnixListenerOptions, ForwardingOptions {}

/**
 * Listen, and forward what connects. A connection whose flow is refused is reset.
 *
 * The far side is dialled for each connection, so it may be away at first, go, and come back.
 */
export function forward(dial: DialTunnel, options: ForwardOptions): Promise<Listener> {
  return listen(options, forwardEach(dial, options));
}

/**
 * The same at a Unix socket, as {@linkcode listenUnix} makes it. It knows no reset: a flow that is refused or cut off
 * closes the connection.
 */
export function forwardUnix(
  dial: DialTunnel,
  options: UnixForwardOptions,
): Promise<Listener<string>> {
  return listenUnix(options, forwardEach(dial, options));
}

function forwardEach(dial: DialTunnel, options: ForwardingOptions): ServeLocal {
  const { target, logger = silentLogger, onfailure } = options;
  return async (socket, signal) => {
    using given = stopWith(signal);
    socket.once("close", () => given.abort(CLIENT_GONE));
    try {
      const { flow, opened } = await beginFlow(dial, target, { signal: given.signal });
      const done = join(socket, flow, { signal, opened });
      await opened;
      const end = await done;
      if (end.kind === "reset") logger.debug({ by: end.by, err: end.error }, "flow reset");
    } catch (error) {
      if (given.signal.aborted) return;
      if (onfailure === undefined) logFailure(logger, error as Error, "not forwarded");
      else onfailure(error as Error);
      logger.debug({ err: error }, (error as Error).message);
    }
  };
}

/** Why its flow is given up. One for all: an error takes its time to make. */
export const CLIENT_GONE: Error = new Error("the client went away");

/** No target at a level that is on by default: whom people talk to is their own affair. */
export function logFailure(logger: Logger, error: Error, what: string): void {
  if (error instanceof FlowRefused) {
    logger.warn({ refusal: error.refusal }, `${what}: ${error.refusal}`);
  } else {
    logger.warn({ code: (error as { code?: unknown }).code }, `${what}: ${error.message}`);
  }
}
