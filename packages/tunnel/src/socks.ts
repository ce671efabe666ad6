/**
 * A local proxy: SOCKS 5 (RFC 1928), SOCKS 4a and HTTP CONNECT on one port. Each request becomes a flow to
 * wherever it asks, names resolved on the far side.
 *
 * @module
 */

import type { Socket } from "node:net";
import { type Clock, systemClock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import { type Logger, silentLogger } from "@alknet/core/log";
import { CLIENT_GONE, logFailure } from "./forward.ts";
import { hangUp } from "./hang-up.ts";
import { join } from "./join.ts";
import { listen, type Listener, type ListenerOptions } from "./listener.ts";
import { type DialTunnel, openFlow } from "./open-flow.ts";
import { proxyGate, type ProxyLogin } from "./proxy-gate.ts";
import { ClientRefused, type ProxyRequest, readProxyRequest } from "./proxy-request.ts";
import { FlowRefused } from "./refused.ts";
import { type Stop, stopWith, TOO_LATE } from "./stop.ts";

export interface SocksOptions extends ListenerOptions {
  /** Who may use it. @default whoever can connect, and they use the rights of this node */
  login?: ProxyLogin | undefined;
  /** Serves SOCKS 5's UDP ASSOCIATE. @default it is refused as not supported */
  associate?: Associate | undefined;
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

/** What a client wants to reach; for UDP ASSOCIATE, where it sends from, all zeros if it does not know yet. */
export interface SocksTarget {
  readonly host: string;
  readonly port: number;
}

/**
 * Relays UDP for a client until its connection ends, which is `socket`: the reply is still to be written to it.
 * `signal` aborts with the listener. Rejects with `FlowRefused` for that to be the reply.
 */
export type Associate = (socket: Socket, from: SocksTarget, signal: AbortSignal) => Promise<void>;

/**
 * Listen for clients of the proxy.
 *
 * @throws {RangeError} if `login` could not be sent by one of the protocols.
 */
export async function socks(dial: DialTunnel, options: SocksOptions): Promise<Listener> {
  const { deadline = 10_000, clock = systemClock, logger = silentLogger, associate } = options;
  const { onfailure, login, ...where } = options;
  const gate = proxyGate(login, clock);
  const late = deadlines(deadline, clock);

  async function serve(socket: Socket, signal: AbortSignal): Promise<void> {
    using given = stopWith(signal);
    socket.once("close", () => given.abort(CLIENT_GONE));
    let request: ProxyRequest;
    try {
      request = await readInTime(socket, given);
    } catch (error) {
      const refused = error instanceof ClientRefused ? error : undefined;
      if (refused !== undefined) logger.warn({}, refused.message);
      return await hangUp(socket, refused?.answer, clock.timeout(deadline));
    }
    try {
      if (request.command === "connect") await carry(socket, request, signal, given.signal);
      else if (associate === undefined) throw NO_UDP;
      else await associate(socket, request, signal);
    } catch (error) {
      if (given.signal.aborted) return;
      if (onfailure === undefined) logFailure(logger, error as Error, "no flow");
      else onfailure(error as Error, { host: request.host, port: request.port });
      logger.debug({ err: error }, (error as Error).message);
      const refusal = error instanceof FlowRefused ? error.refusal : undefined;
      await hangUp(socket, request.refused(refusal), clock.timeout(deadline));
    }
  }

  async function readInTime(socket: Socket, given: Stop): Promise<ProxyRequest> {
    const inTime = late.add(() => given.abort(TOO_LATE));
    try {
      return await readProxyRequest(socket, gate, given.signal);
    } finally {
      inTime();
    }
  }

  async function carry(
    socket: Socket,
    request: ProxyRequest,
    signal: AbortSignal,
    given: AbortSignal,
  ): Promise<void> {
    const flow = await openFlow(dial, request, { signal: given });
    socket.write(request.accepted);
    const end = await join(socket, flow, { signal });
    if (end.kind === "reset") logger.debug({ by: end.by, err: end.error }, "flow reset");
  }

  return await listen(where, serve);
}

const NO_UDP = new FlowRefused("unsupported", "UDP is not relayed here");
