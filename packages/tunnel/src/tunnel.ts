/**
 * `alknet/tunnel`: a peer opens TCP connections from this node, to what its rights allow.
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
import type { ProtocolHandler } from "@alknet/core/handler";
import { type Logger, silentLogger } from "@alknet/core/log";
import {
  type Connect,
  connectTarget,
  type Resolve,
  systemConnect,
  systemConnectLarge,
  systemResolve,
} from "./connect.ts";
import { framed } from "./framed.ts";
import { join } from "./join.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import {
  decodeRequest,
  encodeReply,
  OpenError,
  type Refusal,
  type TcpRequest,
  type UnknownRequest,
} from "./wire/open.ts";

/** The ALPN of this protocol. */
export const ALPN: string = "alknet/tunnel";

export interface TunnelOptions {
  /** @default the machine's resolver */
  resolve?: Resolve | undefined;
  /** @default the machine's TCP */
  connect?: Connect | undefined;
  limits?: TunnelLimits | undefined;
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

export interface TunnelLimits {
  /** Flows one peer may have, over all its connections. @default 4_096 */
  flowsPerPeer?: number | undefined;
  /** How many of these may be on their way to a target at a time; the others wait. @default 256 */
  openingPerPeer?: number | undefined;
  /** Time for the request to come, and again for the target to answer, in milliseconds. @default 10_000 */
  deadline?: number | undefined;
}

/** A handler that can tell how much it is doing. */
export interface TunnelHandler extends ProtocolHandler {
  /** Flows that stand now, of all peers. */
  readonly flows: number;
  /** Use other limits for the flows that come; what is left out is the default again. */
  setLimits(limits: TunnelLimits): void;
}

/** Limits as they are without options. */
export const DEFAULT_TUNNEL_LIMITS: {
  readonly flowsPerPeer: number;
  readonly openingPerPeer: number;
  readonly deadline: number;
} = Object.freeze({ flowsPerPeer: 4_096, openingPerPeer: 256, deadline: 10_000 });

/** What one peer has going. */
interface Usage {
  flows: number;
  opening: number;
  /** Flows that wait for their turn to be opened. */
  readonly waiting: (() => void)[];
}

/** Serve `alknet/tunnel`. */
export function tunnel(options: TunnelOptions = {}): TunnelHandler {
  const { resolve = systemResolve } = options;
  const { clock = systemClock, logger = silentLogger } = options;
  let limits = limitsOf(options.limits);
  const usages = new Map<string, Usage>();
  let flows = 0;

  async function serve(connection: Connection, stream: Duplex): Promise<void> {
    // The stream may fail at any time, also while nobody else listens.
    const gone = new AbortController();
    stream.on("error", (error) => gone.abort(error));
    stream.once("close", () => gone.abort(new Error("the peer gave the flow up")));
    const peer = peerOf(connection);
    let request: TcpRequest | UnknownRequest;
    try {
      request = (await readHead(stream, decodeRequest, clock.timeout(limits.deadline))).value;
    } catch (error) {
      logger.debug({ peer, err: error }, "flow without a request");
      stream.destroy(new OpenError("no request", { cause: error }));
      return;
    }
    const refused = await carry(connection, stream, request, gone.signal);
    if (refused !== undefined && !stream.destroyed) {
      report(peer, refused);
      await refuse(stream, refused, clock.timeout(limits.deadline));
    }
  }

  /** Open what is asked for and carry it to its end. Answers why not; never rejects. */
  async function carry(
    connection: Connection,
    stream: Duplex,
    request: TcpRequest | UnknownRequest,
    gone: AbortSignal,
  ): Promise<FlowRefused | undefined> {
    const peer = peerOf(connection);
    const usage = usages.get(peer) ?? { flows: 0, opening: 0, waiting: [] };
    usages.set(peer, usage);
    usage.flows++;
    flows++;
    let opening = false;
    const opened = () => {
      if (!opening) return;
      opening = false;
      usage.opening--;
      usage.waiting.shift()?.();
    };
    try {
      if (connection.draining.aborted) {
        return new FlowRefused("draining", "the far node is shutting down");
      }
      if (request.kind === "unknown") {
        return new FlowRefused("unsupported", `request kind ${request.number} is not known there`);
      }
      if (usage.flows > limits.flowsPerPeer) {
        return new FlowRefused("limit", "too many flows of one peer");
      }
      const { host, port } = request;
      // What no address could make right is refused at once, and not behind others that wait.
      const mayBe = connection.auth.allows("tunnel:dial", { host, port });
      if (mayBe && usage.opening >= limits.openingPerPeer) {
        await new Promise<void>((resolve) => usage.waiting.push(resolve));
      }
      opening = true;
      usage.opening++;
      gone.throwIfAborted();
      // QUIC takes smaller pieces as they come, and keeps them without a copy.
      const ours = connection.multiplexed ? systemConnect : systemConnectLarge;
      const connect = options.connect ?? ours;
      const reach = { resolve, connect, clock, deadline: limits.deadline };
      const { socket, grant } = await connectTarget(connection.auth, request, reach, gone);
      using _held = grant;
      opened();
      stream.write(encodeReply({ kind: "open" }));
      const flow = connection.multiplexed ? stream : framed(stream);
      const end = await join(socket, flow, { signal: grant.signal });
      if (end.kind === "reset") logger.debug({ peer, by: end.by, err: end.error }, "flow reset");
      return undefined;
    } catch (error) {
      if (error instanceof FlowRefused) return error;
      if (gone.aborted) {
        logger.debug({ peer, err: error }, "flow given up while it was opened");
        stream.destroy();
        return undefined;
      }
      return new FlowRefused("failed", "a fault of the far node", { cause: error });
    } finally {
      opened();
      flows--;
      if (--usage.flows === 0) usages.delete(peer);
    }
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
      case "unsupported":
        logger.info({ peer, refusal }, `flow refused: ${message}`);
        options.onrefused?.({ peer, refusal, reason: message });
        break;
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
    get flows() {
      return flows;
    },
    setLimits(values) {
      limits = limitsOf(values);
    },
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

function limitsOf(values: TunnelLimits = {}): typeof DEFAULT_TUNNEL_LIMITS {
  const { flowsPerPeer, openingPerPeer, deadline } = values;
  return {
    flowsPerPeer: flowsPerPeer ?? DEFAULT_TUNNEL_LIMITS.flowsPerPeer,
    openingPerPeer: openingPerPeer ?? DEFAULT_TUNNEL_LIMITS.openingPerPeer,
    deadline: deadline ?? DEFAULT_TUNNEL_LIMITS.deadline,
  };
}

/** Answer, and wait for the peer to have read it: closing at once could overtake the answer. */
async function refuse(stream: Duplex, refused: FlowRefused, late: AbortSignal): Promise<void> {
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

function peerOf({ auth }: Connection): string {
  return auth.peer?.id ?? auth.fingerprint ?? "unknown";
}
