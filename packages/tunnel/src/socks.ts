/**
 * A local SOCKS 5 proxy (RFC 1928): each CONNECT becomes a flow to wherever it asks, names resolved on the
 * far side.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import { type Logger, silentLogger } from "@alknet/core/log";
import { logFailure } from "./forward.ts";
import { join } from "./join.ts";
import { listen, type Listener, type ListenerOptions } from "./listener.ts";
import { type DialTunnel, openFlow } from "./open-flow.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import {
  decodeGreeting,
  decodeSocksRequest,
  encodeMethod,
  encodeSocksReply,
  Method,
  ReplyCode,
  replyCodeOf,
  SocksError,
  type SocksRequest,
} from "./wire/socks5.ts";

export interface SocksOptions extends ListenerOptions {
  /** Time for a client to say what it wants, in milliseconds. @default 10_000 */
  deadline?: number | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  /**
   * Hears of each request that could not be served, and what it asked for; the client is told too, by its reply
   * code. @default a warning to `logger`, without the target
   */
  onfailure?: ((error: Error, target: SocksTarget) => void) | undefined;
}

/** What a client wants to reach. */
export interface SocksTarget {
  readonly host: string;
  readonly port: number;
}

/** Listen for SOCKS 5 clients. No password: whoever can connect uses the rights of this node. */
export function socks(dial: DialTunnel, options: SocksOptions): Promise<Listener> {
  const { deadline = 10_000, clock = systemClock, logger = silentLogger } = options;
  const { onfailure, ...where } = options;
  return listen(where, async (socket, signal) => {
    const given = new AbortController();
    socket.once("close", () => given.abort(new Error("the client went away")));
    const either = AbortSignal.any([signal, given.signal]);
    let request: SocksRequest;
    try {
      const late = clock.timeout(deadline);
      request = await negotiate(socket, AbortSignal.any([either, late]));
    } catch (error) {
      if (error instanceof SocksError) logger.warn({}, error.message);
      const reply = error instanceof SocksError ? error.reply : undefined;
      await hangUp(socket, reply, clock.timeout(deadline));
      return;
    }
    try {
      const flow = await openFlow(dial, request, { signal: either });
      socket.write(encodeSocksReply(ReplyCode.SUCCEEDED));
      const end = await join(socket, flow, { signal });
      if (end.kind === "reset") logger.debug({ by: end.by, err: end.error }, "flow reset");
    } catch (error) {
      if (either.aborted) return;
      if (onfailure === undefined) logFailure(logger, error as Error, "no flow");
      else onfailure(error as Error, { host: request.host, port: request.port });
      logger.debug({ err: error }, (error as Error).message);
      const refused = error instanceof FlowRefused ? error : undefined;
      const code = refused === undefined ? ReplyCode.FAILURE : replyCodeOf(refused.refusal);
      await hangUp(socket, code, clock.timeout(deadline));
    }
  });
}

/** Greeting, method, request, of a client on whatever stream. @throws {SocksError} */
export async function negotiate(socket: Duplex, signal: AbortSignal): Promise<SocksRequest> {
  const { methods } = await readHead(socket, decodeGreeting, signal);
  if (!methods.includes(Method.NONE)) {
    socket.end(encodeMethod(Method.UNACCEPTABLE));
    throw new SocksError(
      "cannot serve SOCKS client: it offers no way without a password",
      undefined,
    );
  }
  socket.write(encodeMethod(Method.NONE));
  const request = await readHead(socket, decodeSocksRequest, signal);
  if (request.command !== "connect") {
    throw new SocksError(
      `cannot serve SOCKS client: command ${request.command} is not supported`,
      ReplyCode.COMMAND_NOT_SUPPORTED,
    );
  }
  if (request.port === 0) {
    throw new SocksError("cannot serve SOCKS client: it asks for port 0", ReplyCode.FAILURE);
  }
  return request;
}

/** RFC 1928 §6: say why, then close, within ten seconds. */
export async function hangUp(
  socket: Duplex,
  reply: ReplyCode | undefined,
  late: AbortSignal,
): Promise<void> {
  if (socket.destroyed) return;
  if (socket.writable) socket.end(reply === undefined ? "" : encodeSocksReply(reply));
  // Closing with bytes unread would be a reset, which can overtake the reply.
  socket.resume();
  await new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
    late.addEventListener("abort", () => resolve(), { once: true });
  });
  socket.destroy();
}
