/**
 * `alknet/tunnel`: a peer opens connections from this node, TCP and to Unix sockets, to what its rights allow.
 *
 * One flow is one stream: the request at its head (wire/open.ts), then the bytes of the connection, half-close
 * and reset included. Rights are asked for by name and by each address before it is connected to, and held
 * while the flow lasts: taking one back ends the flows that stood on it, and nothing else.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { AccessDenied } from "@alknet/core/access";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { Connection } from "@alknet/core/connection";
import { deadlines } from "@alknet/core/deadlines";
import type { ProtocolHandler } from "@alknet/core/handler";
import { type Logger, silentLogger } from "@alknet/core/log";
import { exposeServer } from "./expose-server.ts";
import { framed } from "./framed.ts";
import type { Target } from "./granted-addresses.ts";
import type { Inbound } from "./inbound.ts";
import { join } from "./join.ts";
import { type Outbound, outbound, type OutboundTarget } from "./outbound.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { refuseStream } from "./refuse-stream.ts";
import { TOO_LATE } from "./stop.ts";
import { serveUdp } from "./udp-server.ts";
import {
  decodeRequest,
  encodeReply,
  OpenError,
  type Refusal,
  type KnownRequest,
  type UnknownRequest,
} from "./wire/open.ts";

/** The ALPN of this protocol. */
export const ALPN: string = "alknet/tunnel";

export interface TunnelOptions {
  /** How this node connects for its peers. @default one with the default limits, that serves nobody else */
  outbound?: Outbound | undefined;
  /** How it listens for them. @default one with the default limits, that serves nobody else */
  inbound?: Inbound | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  /** Hears of each flow that was refused for want of a right, or for a limit. */
  onrefused?: ((refused: TunnelRefusal) => void) | undefined;
}

export interface TunnelRefusal {
  readonly peer: string;
  readonly refusal: Refusal;
  /** Names no target. */
  readonly reason: string;
  /** The scope that lacks, target included: for the owner who asks, not for logs. */
  readonly scope?: string | undefined;
}

/** A request, and the stream that it came on. */
interface Asked {
  readonly connection: Connection;
  readonly stream: Duplex;
  readonly request: KnownRequest | UnknownRequest;
  /** Aborts when the stream has gone. */
  readonly gone: AbortSignal;
}

const OPEN = encodeReply({ kind: "open", body: new Uint8Array() });

/** Why nobody is connected for a stream that has gone. One for all. */
const GIVEN_UP = new Error("the peer gave the flow up");

/** Serve `alknet/tunnel`. */
export function tunnel(options: TunnelOptions = {}): ProtocolHandler {
  const { outbound: out = outbound(), clock = systemClock, logger = silentLogger } = options;
  const exposing = exposeServer({ inbound: options.inbound, clock, logger });

  async function serve(connection: Connection, stream: Duplex): Promise<void> {
    // The stream may fail at any time, also while nobody else listens.
    const gone = new AbortController();
    stream.on("error", (error) => gone.abort(error));
    stream.once("close", () => gone.abort(GIVEN_UP));
    const peer = peerOf(connection);
    let request: KnownRequest | UnknownRequest;
    const inTime = deadlines(out.limits.deadline, clock).add(() => gone.abort(TOO_LATE));
    try {
      request = (await readHead(stream, decodeRequest, gone.signal)).value;
    } catch (error) {
      logger.debug({ peer, err: error }, "flow without a request");
      stream.destroy(new OpenError("no request", { cause: error }));
      return;
    } finally {
      inTime();
    }
    const refused = await answer({ connection, stream, request, gone: gone.signal });
    if (refused !== undefined && !stream.destroyed) {
      report(peer, refused);
      await refuseStream(stream, refused, clock.timeout(out.limits.deadline));
    }
  }

  /** Do what is asked for, to its end. Answers why not; never rejects. */
  async function answer(asked: Asked): Promise<FlowRefused | undefined> {
    try {
      await carry(asked);
      return undefined;
    } catch (error) {
      if (error instanceof FlowRefused) return error;
      if (asked.gone.aborted) {
        const peer = peerOf(asked.connection);
        logger.debug({ peer, err: error }, "flow given up while it was opened");
        asked.stream.destroy();
        return undefined;
      }
      return new FlowRefused("failed", "a fault of the far node", { cause: error });
    }
  }

  async function carry(asked: Asked): Promise<void> {
    const { connection, request } = asked;
    if (connection.draining.aborted) {
      throw new FlowRefused("draining", "the far node is shutting down");
    }
    switch (request.kind) {
      case "tcp":
        return await carrySocket(asked, request);
      case "unix":
        return await carrySocket(asked, request);
      case "listen-tcp":
        return await exposing.listen(asked, request);
      case "listen-unix":
        return await exposing.listen(asked, request);
      case "claim":
        return await exposing.claim(asked, request);
      case "udp":
        return await carryUdp(asked, request);
      case "accepted":
        throw new FlowRefused(
          "unsupported",
          `requests of kind ${request.kind} are not served there`,
        );
      case "unknown":
        throw new FlowRefused("unsupported", `request kind ${request.number} is not known there`);
    }
  }

  async function carrySocket(
    { connection, stream, gone }: Asked,
    target: OutboundTarget,
  ): Promise<void> {
    // QUIC takes smaller pieces as they come, and keeps them without a copy.
    const largeReads = !connection.multiplexed;
    using flow = await out.connect(connection.auth, target, { signal: gone, largeReads });
    stream.write(OPEN);
    const carried = connection.multiplexed ? stream : framed(stream);
    const end = await join(flow.socket, carried, { signal: flow.signal });
    if (end.kind === "ended") return;
    logger.debug({ peer: peerOf(connection), by: end.by, err: end.error }, "flow reset");
  }

  async function carryUdp(asked: Asked, target: Target): Promise<void> {
    const dropped = await serveUdp(out, asked, target, clock);
    if (dropped > 0) logger.debug({ peer: peerOf(asked.connection), dropped }, "packets dropped");
  }

  /** No target at a level that is on by default: whom a peer talks to is its own affair. */
  function report(peer: string, { refusal, cause, message }: FlowRefused): void {
    switch (refusal) {
      case "not-allowed": {
        const denied = cause instanceof AccessDenied ? cause : undefined;
        const reason = denied?.reason ?? "not allowed";
        logger.info({ peer, refusal }, `flow refused: ${reason}`);
        options.onrefused?.({ peer, refusal, reason, scope: denied?.missing });
        break;
      }
      case "limit":
      case "unsupported": {
        const reason =
          refusal === "limit" ? "a limit of this node is reached" : "this node does not do that";
        logger.info({ peer, refusal }, `flow refused: ${reason}`);
        options.onrefused?.({ peer, refusal, reason });
        break;
      }
      case "failed":
        logger.error({ peer, code: (cause as { code?: unknown }).code }, "flow failed");
        break;
      case "host-not-found":
      case "refused":
      case "host-unreachable":
      case "network-unreachable":
      case "timed-out":
      case "draining":
      case "in-use":
        break;
    }
    logger.debug({ peer, refusal, err: cause }, message);
  }

  return {
    alpns: [ALPN],
    access: "peers",
    tls: "node",
    async handle(connection) {
      const live = new Set<Promise<void>>();
      for (;;) {
        const stream = await connection.accept();
        if (stream === undefined) break;
        const flow = serve(connection, stream);
        live.add(flow);
        void flow.finally(() => live.delete(flow));
      }
      // Closed: they have failed already. Draining: they may finish; the endpoint sets the limit.
      await Promise.allSettled(live);
    },
  };
}

function peerOf({ auth }: Connection): string {
  return auth.peer?.id ?? auth.fingerprint ?? "unknown";
}
