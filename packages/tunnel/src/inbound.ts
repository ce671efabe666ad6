/**
 * Listening for peers: this node takes connections at an address of its own and hands them to who asked.
 *
 * The right to each address (`tunnel:listen:…`) is held while the listener stands and while connections that
 * came through it do: taking it back ends these, and nothing else.
 *
 * @module
 */

import type { Socket } from "node:net";
import { basename, dirname, join } from "node:path";
import { AccessDenied, type AuthContext, type Grant } from "@alknet/core/access";
import { formatHost, parseHost } from "@alknet/core/host";
import { type Logger, silentLogger } from "@alknet/core/log";
import { resetSocket } from "@alknet/core/reset-socket";
import { parseScope } from "@alknet/core/scope";
import { type BoundServer, bindTcp, bindUnix } from "./bound-server.ts";
import { followLinks } from "./follow-links.ts";
import { isNoAddress, listenFailure } from "./listen-failure.ts";
import { NOTHING_OWN, type OwnSockets } from "./own-sockets.ts";
import { FlowRefused } from "./refused.ts";
import { formatTarget } from "./wire/host.ts";

/** Where a peer wants this node to listen. */
export type InboundPlace =
  /**
   * An address of this machine, `localhost` (both loopbacks), or `""` or `*` (every address of both families).
   * Port 0: any that the peer's rights allow.
   */
  | { readonly host: string; readonly port: number }
  /** A Unix socket, absolute. */
  | { readonly path: string };

/** Where a connection comes from; an empty address and port 0 for a Unix socket. */
export interface Origin {
  readonly address: string;
  readonly port: number;
}

/**
 * Takes one connection: paused, half-open allowed. `signal` aborts when the right to it is gone, or who asked
 * for the listener; the socket is reset then.
 */
export type ServeInbound = (socket: Socket, origin: Origin, signal: AbortSignal) => void;

export interface InboundLimits {
  /** Listeners one peer may have, over all its connections. @default 64 */
  listenersPerPeer?: number | undefined;
  /** Connections one listener may have at a time; those above are reset. @default 1_024 */
  connectionsPerListener?: number | undefined;
}

export interface InboundOptions {
  limits?: InboundLimits | undefined;
  /** What is the node's own, where no peer listens; see `ownSockets()`. @default nothing: who has no node has none */
  own?: OwnSockets | undefined;
  logger?: Logger | undefined;
}

export interface Inbound {
  /**
   * Listen for a peer. `options.signal` ends the listener and its connections: it is the life of who asked.
   *
   * @throws {FlowRefused} `not-allowed`, `in-use`, `limit`, `host-unreachable` (no address of this machine), `failed`
   * @throws the reason of `signal`
   */
  listen(
    auth: AuthContext,
    place: InboundPlace,
    serve: ServeInbound,
    options: { signal: AbortSignal },
  ): Promise<PeerListener>;
  /** Listeners that stand now, of all peers. */
  readonly listeners: number;
  /** Use other limits for the listeners that come; what is left out is the default again. */
  setLimits(limits: InboundLimits): void;
}

/** A listener of a peer. */
export interface PeerListener {
  /** With the port that was got; the host is an address, or `localhost` or empty where it has more than one. */
  readonly place: InboundPlace;
  /** Resolves when it listens no more: with why it was ended, or `undefined` after `close()`. */
  readonly closed: Promise<Error | undefined>;
  /** Take no new connections; those that stand go on. Idempotent. */
  close(): void;
}

/** Limits as they are without options. */
export const DEFAULT_INBOUND_LIMITS: {
  readonly listenersPerPeer: number;
  readonly connectionsPerListener: number;
} = Object.freeze({ listenersPerPeer: 64, connectionsPerListener: 1_024 });

/** Ports that are tried where the rights leave a choice; and how often, where the system makes it. */
const MAX_TRIED = 1_024;
const SYSTEM_TRIES = 8;

/** What was bound for a place, and the rights it stands on. */
interface Bound {
  readonly place: InboundPlace;
  readonly servers: readonly BoundServer[];
  readonly grants: readonly Grant[];
}

/** Make what peers' listeners are opened by; one for a node. */
export function inbound(options: InboundOptions = {}): Inbound {
  const { own = NOTHING_OWN, logger = silentLogger } = options;
  let limits = limitsOf(options.limits);
  /** Listeners of each peer; one counts as long as a connection of it stands. */
  const perPeer = new Map<string, number>();
  let listeners = 0;

  async function listen(
    auth: AuthContext,
    place: InboundPlace,
    serve: ServeInbound,
    { signal }: { signal: AbortSignal },
  ): Promise<PeerListener> {
    signal.throwIfAborted();
    const peer = auth.peer?.id ?? auth.fingerprint ?? "unknown";
    const { listenersPerPeer, connectionsPerListener } = limits;
    // Counted before it is bound: others of the same peer are on their way.
    const before = perPeer.get(peer) ?? 0;
    if (before >= listenersPerPeer) {
      throw new FlowRefused("limit", `${formatPlace(place)}: too many listeners of one peer`);
    }
    perPeer.set(peer, before + 1);
    const forget = (): void => {
      const left = perPeer.get(peer)! - 1;
      if (left === 0) perPeer.delete(peer);
      else perPeer.set(peer, left);
    };

    /** Aborts when the connections have to end, too. */
    const over = new AbortController();
    const live = new Set<Socket>();
    const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
    let bound: Bound | undefined;

    function accept(socket: Socket): void {
      // Also while nobody else listens: a client may go at any time.
      socket.on("error", () => {});
      if (over.signal.aborted || live.size >= connectionsPerListener) return resetSocket(socket);
      live.add(socket);
      socket.once("close", () => {
        live.delete(socket);
        releaseWhenOver();
      });
      const { remoteAddress: address = "", remotePort: port = 0 } = socket;
      serve(socket, { address, port }, over.signal);
    }

    function close(error?: Error): void {
      if (bound === undefined) return;
      const { servers } = bound;
      bound = { ...bound, servers: [] };
      if (servers.length === 0) return;
      for (const server of servers) {
        const left = server.close();
        if (left !== undefined) logger.warn({ peer, err: left }, "the file of a listener stays");
      }
      listeners--;
      logger.debug({ peer, err: error }, "listener closed");
      resolve(error);
      releaseWhenOver();
    }

    function end(error: Error): void {
      if (over.signal.aborted) return;
      over.abort(error);
      for (const socket of live) resetSocket(socket);
      close(error);
    }
    const aborted = (): void => end(signal.reason as Error);

    function releaseWhenOver(): void {
      if (bound === undefined || bound.servers.length > 0 || live.size > 0) return;
      for (const grant of bound.grants) grant[Symbol.dispose]();
      bound = undefined;
      signal.removeEventListener("abort", aborted);
      forget();
    }

    try {
      bound = await bind(auth, place, own, accept);
    } catch (error) {
      // One of two addresses may have had a caller already.
      over.abort(error);
      for (const socket of live) resetSocket(socket);
      forget();
      throw error;
    }
    listeners++;
    const got = bound.place;
    for (const grant of bound.grants) grant.followRevocation(end);
    if (signal.aborted) {
      aborted();
      throw signal.reason;
    }
    signal.addEventListener("abort", aborted, { once: true });
    logger.debug({ peer, listen: formatPlace(got) }, "listens for a peer");
    return { place: got, closed, close: () => close() };
  }

  return {
    listen,
    get listeners() {
      return listeners;
    },
    setLimits(values) {
      limits = limitsOf(values);
    },
  };
}

/** A place for people: `localhost:8080`, `*:8080`, or the path. */
export function formatPlace(place: InboundPlace): string {
  return "path" in place ? place.path : formatTarget({ ...place, host: place.host || "*" });
}

function limitsOf(values: InboundLimits = {}): typeof DEFAULT_INBOUND_LIMITS {
  const { listenersPerPeer, connectionsPerListener } = values;
  return {
    listenersPerPeer: listenersPerPeer ?? DEFAULT_INBOUND_LIMITS.listenersPerPeer,
    connectionsPerListener: connectionsPerListener ?? DEFAULT_INBOUND_LIMITS.connectionsPerListener,
  };
}

function ownPlace(place: InboundPlace): FlowRefused {
  const text = `${formatPlace(place)}: Alknet's own, where nobody else listens`;
  return new FlowRefused("not-allowed", text);
}

type Accept = (socket: Socket) => void;

async function bind(
  auth: AuthContext,
  place: InboundPlace,
  own: OwnSockets,
  accept: Accept,
): Promise<Bound> {
  if ("path" in place) {
    let grant = granted(auth, place, { unixPath: place.path });
    try {
      const folder = await followLinks(dirname(place.path));
      const path = join(folder.real, basename(place.path));
      if (folder.isForeign) {
        const ofReal = granted(auth, place, { unixPath: path });
        grant[Symbol.dispose]();
        grant = ofReal;
      }
      if (await own.isOwnFolder(folder.real)) throw ownPlace(place);
      const server = await bindUnix(path, accept, true);
      return { place, servers: [server], grants: [grant] };
    } catch (error) {
      grant[Symbol.dispose]();
      throw listenFailure(error, formatPlace(place));
    }
  }
  const { host, addresses } = addressesOf(place);
  let taken: FlowRefused | undefined;
  for (const port of portsFor(auth, place, host, addresses)) {
    const mine = addresses.filter((address) =>
      auth.allows("tunnel:listen", { host: host ?? address, port, address }),
    );
    if (mine.some((address) => own.isOwn(address, port))) {
      if (place.port === 0) continue;
      throw ownPlace(place);
    }
    try {
      return await bindAddresses(auth, { ...place, port }, host, mine, accept);
    } catch (error) {
      const refused = listenFailure(error, formatPlace(place));
      if (place.port !== 0 || refused.refusal !== "in-use") throw refused;
      taken = refused;
    }
  }
  if (taken !== undefined) throw taken;
  // Nothing of it is allowed: have the rights say what lacks.
  const [address] = addresses;
  granted(auth, place, { host: host ?? address!, port: place.port, address })[Symbol.dispose]();
  throw new FlowRefused("not-allowed", `${formatPlace(place)}: not allowed`);
}

/** Listen on all of `addresses`, at one port. */
async function bindAddresses(
  auth: AuthContext,
  place: { readonly host: string; readonly port: number },
  host: string | undefined,
  addresses: readonly string[],
  accept: Accept,
): Promise<Bound> {
  const servers: BoundServer[] = [];
  const grants: Grant[] = [];
  const bound: string[] = [];
  let missing: unknown;
  try {
    for (const address of addresses) {
      const asked = { host: host ?? address, port: place.port, address };
      const grant = granted(auth, place, asked);
      try {
        const server = await bindTcp(address, servers[0]?.port ?? place.port, accept);
        servers.push(server);
        grants.push(grant);
        bound.push(address);
      } catch (error) {
        grant[Symbol.dispose]();
        // A machine without IPv6 has the other half.
        if (!isNoAddress(error)) throw error;
        missing ??= error;
      }
    }
    if (servers.length === 0) throw missing;
  } catch (error) {
    for (const server of servers) server.close();
    for (const grant of grants) grant[Symbol.dispose]();
    throw error;
  }
  const name = bound.length === 1 ? bound[0]! : (host ?? "");
  return { place: { host: name, port: servers[0]!.port }, servers, grants };
}

/** What a host of a listener stands for: as OpenSSH takes it (ssh(1), -R), but that no name is looked up. */
function addressesOf(place: { readonly host: string; readonly port: number }): {
  /** The name that rights are asked for; `undefined`: each address is its own. */
  readonly host: string | undefined;
  readonly addresses: readonly string[];
} {
  if (place.host === "" || place.host === "*") {
    return { host: undefined, addresses: ["0.0.0.0", "::"] };
  }
  const host = parseHost(place.host);
  if (host?.kind === "address") return { host: undefined, addresses: [formatHost(host)] };
  if (host?.name === "localhost") return { host: "localhost", addresses: ["127.0.0.1", "::1"] };
  throw new FlowRefused(
    "host-not-found",
    `${formatPlace(place)}: expected an address of the far node, "localhost" or "*"`,
  );
}

/**
 * Ports to try for `place`, each one that some address of it may have. Port 0 is the system's choice, where
 * the rights leave it to that; else they name ranges, and the first port that is free is taken.
 */
function* portsFor(
  auth: AuthContext,
  { port }: { readonly port: number },
  host: string | undefined,
  addresses: readonly string[],
): Generator<number> {
  const isAllowed = (wanted: number): boolean =>
    addresses.some((address) =>
      auth.allows("tunnel:listen", { host: host ?? address, port: wanted, address }),
    );
  if (isAllowed(port)) {
    // The second address may have taken what the first was given.
    const tries = port === 0 ? SYSTEM_TRIES : 1;
    for (let tried = 0; tried < tries; tried++) yield port;
    return;
  }
  if (port !== 0) return;
  let left = MAX_TRIED;
  for (const { low, high } of rangesOf(auth)) {
    for (let wanted = low; wanted <= high && left > 0; wanted++) {
      left--;
      if (isAllowed(wanted)) yield wanted;
    }
  }
}

/** Ranges of ports that the peer's rights to listen name. */
function rangesOf(auth: AuthContext): { readonly low: number; readonly high: number }[] {
  return (auth.peer?.scopes ?? []).flatMap((text) => {
    if (!text.startsWith("tunnel:listen:")) return [];
    try {
      const { resource } = parseScope(text);
      return resource?.kind === "address" && resource.rule.kind === "host" ? [resource.rule] : [];
    } catch {
      // It grants nothing.
      return [];
    }
  });
}

function granted(
  auth: AuthContext,
  place: InboundPlace,
  resource: Parameters<AuthContext["grant"]>[1],
): Grant {
  try {
    return auth.grant("tunnel:listen", resource);
  } catch (error) {
    if (!(error instanceof AccessDenied)) throw error;
    const text = `${formatPlace(place)}: not allowed, this key lacks ${error.missing}`;
    throw new FlowRefused("not-allowed", text, { cause: error });
  }
}
