/**
 * The one way out of this node for what peers ask: `alknet/tunnel`, SSH's forwarding, and whatever else
 * connects for somebody else. One policy, one count of flows, one dialer.
 *
 * A peer needs `tunnel:dial` for the name and for the address connected to, and holds it while the flow
 * lasts: taking it back aborts the flow's `signal`, and nothing else.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { AuthContext, Grant } from "@alknet/core/access";
import { type Clock, systemClock } from "@alknet/core/clock";
import {
  type Connect,
  type Connected,
  connectTarget,
  systemConnect,
  systemConnectLarge,
  systemResolve,
} from "./connect.ts";
import { connectUdp, type UdpTarget } from "./connect-udp.ts";
import { connectUnix } from "./connect-unix.ts";
import type { Resolve, Target } from "./granted-addresses.ts";
import { flowCount } from "./flow-count.ts";
import { type DialResource, notAllowed } from "./connect-failure.ts";
import { connectByProxy } from "./connect-proxy.ts";
import type { Proxy } from "./proxy.ts";
import { NOTHING_OWN, type OwnSockets } from "./own-sockets.ts";
import { FlowRefused } from "./refused.ts";
import { formatTarget } from "./wire/host.ts";

/** What a peer may ask to be connected to. */
export type OutboundTarget =
  /** TCP: a name in lower case, or an address; see `parseHost`. The port is 1 to 65,535. */
  | Target
  /** A Unix socket: an absolute path of at most 107 bytes. */
  | { readonly path: string };

export interface OutboundLimits {
  /** Flows one peer may have, over all its connections and services. @default 4_096 */
  flowsPerPeer?: number | undefined;
  /** How many of these may be on their way to a target at a time; the others wait. @default 256 */
  openingPerPeer?: number | undefined;
  /** Time for the look-up and all attempts together, in milliseconds. @default 10_000 */
  deadline?: number | undefined;
}

export interface OutboundOptions {
  /** @default the machine's resolver */
  resolve?: Resolve | undefined;
  /** @default the machine's TCP */
  connect?: Connect | undefined;
  limits?: OutboundLimits | undefined;
  /**
   * Goes between this node and all that its peers reach by TCP, with no way around it. Names are resolved there,
   * so that a peer needs a scope which names them; Unix sockets are this machine's own. @default none
   */
  proxy?: Proxy | undefined;
  /** Sockets of the node itself, which no peer reaches; see `ownSockets()`. @default none: who has no node has none */
  own?: OwnSockets | undefined;
  clock?: Clock | undefined;
}

export interface ConnectOptions {
  /** Its abort gives the attempt up, and leaves nothing behind. */
  signal: AbortSignal;
  /** Read the socket in large pieces; see `large-reads.ts` for who gains by that. @default false */
  largeReads?: boolean | undefined;
}

/** A flow to a target. Disposing gives back the right and the place in the count; the socket is the caller's. */
export interface OutboundFlow extends Disposable {
  /** Connected and paused. It allows half-open, and has no Nagle delay. */
  readonly socket: Socket;
  /** Aborts with `AccessRevoked` when the right is gone: reset the socket then. Made on first use. */
  readonly signal: AbortSignal;
  readonly grant: Grant;
}

export interface Outbound {
  /**
   * Connect to `target` with the rights of `auth`.
   *
   * @throws {FlowRefused} with the refusal that tells most; its text may be shown to the peer, and names the target.
   * @throws the reason of `signal`, when that is what ended it.
   */
  connect(
    auth: AuthContext,
    target: OutboundTarget,
    options: ConnectOptions,
  ): Promise<OutboundFlow>;
  /**
   * Make a UDP socket for one target, under the same rights and count. Through a proxy there is none.
   *
   * @throws as `connect`.
   */
  openUdp(auth: AuthContext, target: Target, options: { signal: AbortSignal }): Promise<UdpTarget>;
  /** Flows that stand or are being opened now, of all peers. */
  readonly flows: number;
  readonly limits: typeof DEFAULT_OUTBOUND_LIMITS;
  /** Use other limits for the flows that come; what is left out is the default again. */
  setLimits(limits: OutboundLimits): void;
}

/** Limits as they are without options. */
export const DEFAULT_OUTBOUND_LIMITS: {
  readonly flowsPerPeer: number;
  readonly openingPerPeer: number;
  readonly deadline: number;
} = Object.freeze({ flowsPerPeer: 4_096, openingPerPeer: 256, deadline: 10_000 });

/** Make the way out of a node. */
export function outbound(options: OutboundOptions = {}): Outbound {
  const { resolve = systemResolve, clock = systemClock, own = NOTHING_OWN, proxy } = options;
  let limits = limitsOf(options.limits);
  const count = flowCount(() => limits);

  function resourceOf(target: OutboundTarget): DialResource {
    if ("path" in target) return { unixPath: target.path };
    const { host, port } = target;
    return proxy === undefined ? { host, port } : { host, port, elsewhere: true };
  }

  function dial(
    auth: AuthContext,
    target: OutboundTarget,
    { signal, largeReads = false }: ConnectOptions,
  ): Promise<Connected> {
    if ("path" in target) return connectUnix(auth, target.path, own.isOwnPath, signal);
    const connect = options.connect ?? (largeReads ? systemConnectLarge : systemConnect);
    const reach = { resolve, connect, clock, isOwn: own.isOwn, ...limits };
    return proxy === undefined
      ? connectTarget(auth, target, reach, signal)
      : connectByProxy(auth, target, proxy, reach, signal);
  }

  /** Open something for a peer, in its turn and counted. */
  async function counting<T>(
    auth: AuthContext,
    resource: DialResource,
    signal: AbortSignal,
    open: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly counted: Disposable }> {
    const counted = count.enter(peerOf(auth));
    try {
      // What no address could make right is refused at once, and not behind others that wait.
      if (!auth.allows("tunnel:dial", resource)) throw notAllowed(auth, resource);
      const arrived = await counted.opening(signal);
      try {
        return { value: await open(), counted };
      } finally {
        arrived();
      }
    } catch (error) {
      counted[Symbol.dispose]();
      throw error;
    }
  }

  return {
    async connect(auth, target, connectOptions) {
      const { signal } = connectOptions;
      const open = () => dial(auth, target, connectOptions);
      const { value, counted } = await counting(auth, resourceOf(target), signal, open);
      return flowOf(value, counted);
    },
    async openUdp(auth, target, { signal }) {
      const { host, port } = target;
      const open = async () => {
        if (proxy === undefined) {
          const reach = { resolve, clock, isOwn: own.isOwn, ...limits };
          return await connectUdp(auth, target, reach, signal);
        }
        // And never around it.
        throw new FlowRefused("unsupported", `${formatTarget(target)}: UDP goes through no proxy`);
      };
      const { value, counted } = await counting(auth, { host, port }, signal, open);
      return {
        ...value,
        [Symbol.dispose]() {
          value[Symbol.dispose]();
          counted[Symbol.dispose]();
        },
      };
    },
    get flows() {
      return count.flows;
    },
    get limits() {
      return limits;
    },
    setLimits(values) {
      limits = limitsOf(values);
    },
  };
}

function flowOf({ socket, grant }: Connected, counted: Disposable): OutboundFlow {
  return {
    socket,
    grant,
    get signal() {
      return grant.signal;
    },
    [Symbol.dispose]() {
      grant[Symbol.dispose]();
      counted[Symbol.dispose]();
    },
  };
}

function limitsOf(values: OutboundLimits = {}): typeof DEFAULT_OUTBOUND_LIMITS {
  const { flowsPerPeer, openingPerPeer, deadline } = values;
  return {
    flowsPerPeer: flowsPerPeer ?? DEFAULT_OUTBOUND_LIMITS.flowsPerPeer,
    openingPerPeer: openingPerPeer ?? DEFAULT_OUTBOUND_LIMITS.openingPerPeer,
    deadline: deadline ?? DEFAULT_OUTBOUND_LIMITS.deadline,
  };
}

function peerOf(auth: AuthContext): string {
  return auth.peer?.id ?? auth.fingerprint ?? "unknown";
}
