/**
 * The dialer: a peer's name, ticket or address becomes a connection, over whatever gets through.
 *
 * QUIC goes first, TCP+TLS joins 300 ms later, each with all addresses of the peer in the manner of RFC
 * 8305, and the first that is ready wins. The peer's answer ends the dial also when it is no: then no
 * other address or transport is tried.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { QuicConnectionClosed } from "@alknet/quic/close-reason";
import type { QuicEndpoint } from "@alknet/quic/endpoint";
import type { TransportOptions } from "@alknet/quic/transport-options";
import { authenticate, type IdentityProvider, type OwnedAuthContext } from "./access.ts";
import {
  type Candidate,
  candidatesAsTheyAre,
  candidatesOf,
  keyOf,
  systemResolve,
} from "./candidates.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode } from "./close-code.ts";
import type { Connection, OwnedConnection } from "./connection.ts";
import { deadlines } from "./deadlines.ts";
import { DialError, isFinal } from "./dial-error.ts";
import type { NodeIdentity } from "./identity-file.ts";
import { parseIp } from "./ip-address.ts";
import { type Logger, silentLogger } from "./log.ts";
import { watchNetwork } from "./network-watch.ts";
import type { PeerEntry } from "./peers.ts";
import { dialQuic } from "./quic-dial.ts";
import { race } from "./race.ts";
import { type PooledStream, streamPool } from "./stream-pool.ts";
import { type Route, routeTo, type Target } from "./target.ts";
import { type Connect, dialTcp } from "./tcp-dial.ts";
import { expired } from "./while-moving.ts";

export interface DialerOptions {
  /** What is shown to peers; without it nothing is. */
  readonly identity?: NodeIdentity | undefined;
  /** Who a server is by its key, and by `peers` whom a name means. */
  readonly identities: IdentityProvider & { readonly peers?: readonly PeerEntry[] };
  /** UDP sockets that are shared with listeners, to be preferred. */
  readonly sockets?: readonly QuicEndpoint[] | undefined;
  /** Makes a socket where none of these will do. The dialer closes it. */
  readonly bind: () => QuicEndpoint;
  /** Settings of the QUIC engine for what is dialed. @default those of the socket */
  readonly transport?: TransportOptions | undefined;
  /** Addresses of a host name. @default the system's resolver */
  readonly resolve?: ((host: string) => Promise<readonly string[]>) | undefined;
  /** How long `close()` lets streams finish, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

export interface DialOptions {
  /** Shown instead of the dialer's own. */
  identity?: NodeIdentity | undefined;
  /** Over these only. @default both */
  transports?: readonly ("quic" | "tcp")[] | undefined;
  /** Reach its addresses by this, over TCP+TLS. It is given names as they are; nothing is resolved here. */
  connect?: Connect | undefined;
  signal?: AbortSignal | undefined;
}

/** One stream, of a connection that the dialer owns. */
export interface OpenedStream {
  readonly stream: Duplex;
  readonly connection: Connection;
  /** Whether the connection has many streams; over TCP it has this one. */
  readonly multiplexed: boolean;
}

/** `await using` closes it. */
export interface Dialer extends AsyncDisposable {
  /**
   * A connection of the caller's own, who closes it. TLS is complete and the server verified; whether the
   * server takes our key, `connection.accepted` tells.
   *
   * @throws {DialError | PeerKeyMismatch | PeerUnpinned | CertificateError | ConnectionClosed}
   * @throws the reason of `signal`, when it aborts first.
   */
  dial(target: Target, alpn: string, options?: DialOptions): Promise<Connection>;
  /**
   * One stream. Over QUIC it shares a connection with all that have the same target, ALPN and identity,
   * which is closed 30 s after its last stream; over TCP it is a connection of its own. Errors as `dial`.
   */
  open(target: Target, alpn: string, options?: Omit<DialOptions, "connect">): Promise<OpenedStream>;
  /** The network has changed: what was learnt about it is forgotten, and connections probe at once. */
  networkChanged(): void;
  /** Let streams finish within the drain time, then end what is left. There is one promise. */
  close(): Promise<void>;
}

const BOTH = ["quic", "tcp"] as const;
const OVER_TCP = ["tcp"] as const;

/** How long the second transport waits for the first, and how far apart addresses are tried, in milliseconds. */
const TRANSPORT_STAGGER = 300;
const ADDRESS_STAGGER = 250;

/** A whole dial, in milliseconds. */
const DEADLINE = 10_000;

/** How long QUIC may take to prove itself after TCP has won: past the first retransmission. Milliseconds. */
const LINGER = 2_000;

/**
 * How long QUIC has still, in milliseconds, once TCP was refused at every address and QUIC has asked every
 * address: the node is down, or TCP is kept from it.
 *
 * Enough for two round trips of 600 ms (a Retry costs the second one) also where a firewall nearby refuses
 * at once. After the 300 ms that TCP waits, it reaches past the first retransmission (1 s, RFC 9002 §6.2.2)
 * on a path of 500 ms; and where the refusal came from the node itself, that took a round trip more.
 */
const GRACE = 1_200;

/** How long it is remembered that UDP did not get through to an address, in milliseconds, and for how many. */
const REMEMBERED = 60_000;
const MAX_REMEMBERED = 1_024;

export function createDialer(options: DialerOptions): Dialer {
  const { identities, drain = 2_000, clock = systemClock, logger = silentLogger } = options;
  const resolve = options.resolve ?? systemResolve;
  const shared = options.sockets ?? [];
  let own: QuicEndpoint | undefined;
  const deadline = deadlines(DEADLINE, clock);
  const linger = deadlines(LINGER, clock);
  /** Dials under way, and attempts over QUIC that outlive theirs. */
  const dials = new Set<AbortController>();
  const live = new Set<OwnedConnection>();
  /** Where UDP did not get through, and until when that is believed. */
  const blocked = new Map<string, number>();
  const routes = new Map<string, Route>();
  let routesOf: readonly PeerEntry[] = [];
  let closing: Promise<void> | undefined;

  const network = watchNetwork(clock, () => dialer.networkChanged());
  const pool = streamPool({ clock });

  async function dial(
    target: Target,
    alpn: string,
    dialOptions: DialOptions = {},
  ): Promise<Connection> {
    return await connect(findRoute(target), alpn, dialOptions);
  }

  /** What a text means, while the peers are what they are. */
  function findRoute(target: Target): Route {
    const { peers = [] } = identities;
    if (typeof target !== "string") return routeTo(target, peers);
    if (peers !== routesOf) routes.clear();
    routesOf = peers;
    let route = routes.get(target);
    if (route === undefined) {
      route = routeTo(target, peers);
      if (routes.size === MAX_REMEMBERED) routes.delete(routes.keys().next().value!);
      routes.set(target, route);
    }
    return route;
  }

  async function open(
    target: Target,
    alpn: string,
    { signal, ...rest }: Omit<DialOptions, "connect"> = {},
  ): Promise<OpenedStream> {
    const route = findRoute(target);
    const fingerprint = (rest.identity ?? options.identity)?.fingerprint ?? "";
    const key = [route.key, alpn, fingerprint, rest.transports?.join() ?? ""].join("\n");
    const found: PooledStream = await pool.open(
      { id: key, connect: (dialing) => connect(route, alpn, { ...rest, signal: dialing }) },
      { signal },
    );
    return { ...found, multiplexed: found.connection.multiplexed };
  }

  async function connect(
    route: Route,
    alpn: string,
    dialOptions: DialOptions,
  ): Promise<OwnedConnection> {
    const { identity = options.identity, connect: through, signal } = dialOptions;
    const transports = through === undefined ? (dialOptions.transports ?? BOTH) : OVER_TCP;
    if (closing !== undefined) throw closedError();
    signal?.throwIfAborted();
    // One signal for the whole dial: whoever gives up, it is who is asked for the reason.
    const dialing = new AbortController();
    const onabort = (): void => dialing.abort(signal?.reason);
    signal?.addEventListener("abort", onabort, { once: true });
    const inTime = deadline.add(() => dialing.abort(TOO_LATE));
    dials.add(dialing);
    const tried: string[] = [];
    try {
      const found =
        through === undefined ? candidatesOf(route, resolve) : candidatesAsTheyAre(route);
      const candidates =
        found instanceof Promise ? await unlessAborted(dialing.signal, found) : found;
      const refused = Promise.withResolvers<void>();
      const attempt: Attempt = { route, alpn, identity, candidates, through, tried, refused };
      const connection = await raceTransports(attempt, transports, dialing.signal);
      keep(connection);
      return connection;
    } catch (error) {
      if (isFinal(error) || error === signal?.reason) throw error;
      throw failure(route, alpn, tried, error);
    } finally {
      signal?.removeEventListener("abort", onabort);
      inTime();
      dials.delete(dialing);
    }
  }

  async function raceTransports(
    attempt: Attempt,
    transports: readonly ("quic" | "tcp")[],
    signal: AbortSignal,
  ): Promise<OwnedConnection> {
    const { candidates } = attempt;
    const quicIsBlocked = candidates.every((it) => isBlocked(it));
    // What did not get through a moment ago comes second.
    const order = quicIsBlocked ? (["tcp", "quic"] as const) : (["quic", "tcp"] as const);
    const both = transports.includes("quic") && transports.includes("tcp");
    if (!both && transports[0] === "tcp") return await overTcp(attempt, signal);
    return await race({
      attempts: order
        .filter((name) => transports.includes(name))
        .map((name) => async (lost: AbortSignal) => {
          if (name === "tcp") return await overTcp(attempt, lost);
          return both
            ? await overQuicLearning(attempt, lost, signal)
            : await overQuic(attempt, lost);
        }),
      stagger: TRANSPORT_STAGGER,
      isFinal,
      discard,
      signal,
      clock,
    });
  }

  /** QUIC in a race with TCP. Having lost, it goes on for a moment, to learn whether UDP gets through. */
  async function overQuicLearning(
    attempt: Attempt,
    lost: AbortSignal,
    dialSignal: AbortSignal,
  ): Promise<OwnedConnection> {
    const end = new AbortController();
    dials.add(end);
    let decided = false;
    let tcpRefused = false;
    const lastBegins = clock.now() + ADDRESS_STAGGER * (attempt.candidates.length - 1);
    void attempt.refused.promise.then(() => {
      tcpRefused = true;
      const left = Math.ceil(Math.max(0, lastBegins - clock.now())) + GRACE;
      const giveUp = (): void => {
        if (!decided) end.abort(NO_ANSWER);
      };
      clock.timeout(left).addEventListener("abort", giveUp, { once: true });
    });
    const outcome = overQuic(attempt, end.signal).then(
      (connection) => {
        dials.delete(end);
        for (const candidate of attempt.candidates) blocked.delete(keyOf(candidate));
        if (!decided) return connection;
        discard(connection);
        return undefined;
      },
      (error: unknown) => {
        dials.delete(end);
        // Not so when the peer has answered, nobody wants to know any more, or TCP has no way either, so far.
        const alive = decided || !(tcpRefused || isRefusal(error));
        const learnt = alive && !isFinal(error) && !dialSignal.aborted;
        if (learnt && closing === undefined) remember(attempt);
        throw error;
      },
    );
    outcome.catch(() => {});
    const onlost = (): void => {
      decided = true;
      // Given up by who dialed, or refused: there is nothing to learn.
      if (dialSignal.aborted || isFinal(lost.reason)) return end.abort(lost.reason);
      const callOff = linger.add(() => end.abort(new Error("UDP did not get through")));
      outcome.then(callOff, callOff);
    };
    if (lost.aborted) onlost();
    else lost.addEventListener("abort", onlost, { once: true });
    const first = await Promise.race([outcome, expired(lost)]);
    if (first === false || first === undefined) throw lost.reason as Error;
    decided = true;
    lost.removeEventListener("abort", onlost);
    return first;
  }

  async function overQuic(attempt: Attempt, signal: AbortSignal): Promise<OwnedConnection> {
    return await overAddresses("QUIC", attempt, signal, (candidate, attemptSignal) =>
      dialQuic({
        ...common(attempt, candidate, attemptSignal),
        endpoint: socketFor(candidate.address),
        transport: options.transport,
      }),
    );
  }

  async function overTcp(attempt: Attempt, signal: AbortSignal): Promise<OwnedConnection> {
    try {
      return await overAddresses("TCP", attempt, signal, (candidate, attemptSignal) =>
        dialTcp({ ...common(attempt, candidate, attemptSignal), connect: attempt.through }),
      );
    } catch (error) {
      if (isRefusal(error)) attempt.refused.resolve();
      throw error;
    }
  }

  async function overAddresses(
    name: string,
    { candidates, tried }: Attempt,
    signal: AbortSignal,
    one: (candidate: Candidate, signal: AbortSignal) => Promise<OwnedConnection>,
  ): Promise<OwnedConnection> {
    return await race({
      attempts: candidates.map((candidate) => async (attemptSignal: AbortSignal) => {
        const at = tried.push(`${name} ${keyOf(candidate)}: no answer`) - 1;
        try {
          return await one(candidate, attemptSignal);
        } catch (error) {
          if (!attemptSignal.aborted) tried[at] = `${name} ${keyOf(candidate)}: ${wordOf(error)}`;
          throw error;
        }
      }),
      stagger: ADDRESS_STAGGER,
      isFinal,
      discard,
      signal,
      clock,
    });
  }

  function common(attempt: Attempt, candidate: Candidate, signal: AbortSignal) {
    const { alpn, identity, route } = attempt;
    const { expected } = route;
    return { ...candidate, alpn, identity, expected, authenticate: who, signal, drain, clock };
  }

  function who(fingerprint: string): OwnedAuthContext {
    return authenticate(identities, { kind: "fingerprint", fingerprint });
  }

  /** A mapping in a NAT that a listener's socket has made helps the dial, and the other way round. */
  function socketFor(address: string): QuicEndpoint {
    const found = shared.find((socket) => reaches(socket.address, address));
    return found ?? (own ??= options.bind());
  }

  function keep(connection: OwnedConnection): void {
    live.add(connection);
    const release = connection.transport === "quic" ? network.hold() : undefined;
    void connection.closed.then(() => {
      live.delete(connection);
      release?.();
    });
  }

  function isBlocked(candidate: Candidate): boolean {
    return (blocked.get(keyOf(candidate)) ?? 0) > clock.now();
  }

  function remember({ candidates, route }: Attempt): void {
    logger.debug({ target: route.label }, "UDP does not get through");
    for (const candidate of candidates) {
      if (blocked.size >= MAX_REMEMBERED) blocked.delete(blocked.keys().next().value!);
      blocked.set(keyOf(candidate), clock.now() + REMEMBERED);
    }
  }

  async function shutdown(): Promise<void> {
    // 1. Dials under way are given up; who uses a connection hears that it is time to finish.
    for (const dialing of dials) dialing.abort(closedError());
    pool.close();
    for (const connection of live) connection.drain();
    // 2. Let them finish, within reason.
    const over = Promise.all([...live].map(({ closed }) => closed));
    await Promise.race([over, expired(clock.timeout(drain))]);
    // 3. End what is left, and give the socket back.
    for (const connection of live) connection.abort(CloseCode.DRAINING, "shutting down");
    network.close();
    await own?.close();
  }

  const dialer: Dialer = {
    dial,
    open,
    networkChanged() {
      blocked.clear();
      for (const socket of shared) socket.addressChanged();
      own?.addressChanged();
    },
    close: () => (closing ??= Promise.resolve().then(shutdown)),
    async [Symbol.asyncDispose]() {
      await this.close();
    },
  };
  return dialer;
}

/** Why a dial is given up that has taken too long. */
const TOO_LATE = new DOMException("the dial took too long", "TimeoutError");

/** Why QUIC is given up where TCP was refused. */
const NO_ANSWER = new DialError("UNREACHABLE", "no answer over QUIC");

interface Attempt {
  readonly route: Route;
  readonly alpn: string;
  readonly identity: NodeIdentity | undefined;
  readonly candidates: readonly Candidate[];
  readonly through: Connect | undefined;
  /** What came of each attempt, for the message when all have failed. */
  readonly tried: string[];
  /** Resolves when TCP was refused at every address. */
  readonly refused: PromiseWithResolvers<void>;
}

/** Whether a socket that is bound there can send to `address`. */
function reaches(bound: { address: string }, address: string): boolean {
  const here = parseIp(bound.address);
  const there = parseIp(address);
  if (here === undefined || there === undefined) return false;
  if (bound.address === "::") return true;
  if (here.family !== there.family) return false;
  if (bound.address === "0.0.0.0") return true;
  return isLoopback(bound.address) === isLoopback(address);
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

function discard(connection: OwnedConnection): void {
  connection.abort(CloseCode.OK);
}

/** What the system says, in words, where there is no way to an address. */
const REFUSALS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
};

function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof DialError && error.code === "UNREACHABLE")) return undefined;
  const { cause = {} } = error;
  if (cause instanceof QuicConnectionClosed && cause.closeReason.kind === "unreachable") {
    return "connection refused";
  }
  const { code } = cause as { code?: unknown };
  return typeof code === "string" ? REFUSALS[code] : undefined;
}

/** Whether every address said so. */
function isRefusal(error: unknown): boolean {
  return flatten(error).every((it) => refusalOf(it) !== undefined);
}

/** What came of an attempt, in a few words. */
function wordOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(wordOf).join(", ");
  const refusal = refusalOf(error);
  if (refusal !== undefined) return refusal;
  const { code } = ((error as Error).cause ?? {}) as { code?: unknown };
  if (error instanceof DialError && error.code === "UNREACHABLE" && typeof code === "string") {
    return code;
  }
  return (error as { code?: string }).code ?? (error as Error).message;
}

function failure({ label }: Route, alpn: string, tried: readonly string[], error: unknown): Error {
  const errors = flatten(error);
  // One attempt, one reason: it says more than a list.
  if (errors.length === 1 && errors[0] instanceof DialError) return errors[0];
  const list = tried.length === 0 ? "" : ` (${tried.join("; ")})`;
  const time = error === TOO_LATE ? ` within ${DEADLINE / 1_000} s` : "";
  const answered = errors.find((it) => it instanceof DialError && it.code === "HANDSHAKE_FAILED");
  return new DialError(
    answered === undefined ? "UNREACHABLE" : "HANDSHAKE_FAILED",
    `cannot reach ${label} for ${alpn}${time}${list}`,
    {
      cause: error,
      hint: "is the node up over there, and its port open for UDP and TCP? `alknet doctor` looks",
    },
  );
}

function flatten(error: unknown): unknown[] {
  return error instanceof AggregateError ? error.errors.flatMap(flatten) : [error];
}

function closedError(): DialError {
  return new DialError("UNREACHABLE", "cannot dial: the dialer is closed", { final: true });
}

/** `promise`, or the reason of `signal` when that is first. */
async function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const ended = expired(signal).then((): never => {
    throw signal.reason as Error;
  });
  ended.catch(() => {});
  return await Promise.race([promise, ended]);
}
