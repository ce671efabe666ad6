/**
 * Connect to a target for a peer: the name, its addresses, the right to each, and the first that answers.
 *
 * The address that a right was checked for is the address connected to: no name is looked up twice, so a
 * resolver that changes its mind (DNS rebinding) gains nothing.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket, type TcpNetConnectOpts } from "node:net";
import { AccessDenied, type AuthContext, type Grant } from "@alknet/core/access";
import type { Clock } from "@alknet/core/clock";
import { race } from "@alknet/core/race";
import { notAllowed, ownSocket, refusedFor } from "./connect-failure.ts";
import { connectLarge } from "./large-reads.ts";
import { FlowRefused } from "./refused.ts";
import { formatTarget } from "./wire/host.ts";

/** Addresses of a name, IPv4 and IPv6, best first. Rejects with `code` `ENOTFOUND` when there is none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/**
 * Open a TCP connection. The socket allows half-open, has no Nagle delay, and is paused.
 *
 * Rejects with the system's error; `signal` ends the attempt and leaves nothing behind.
 */
export type Connect = (address: string, port: number, signal: AbortSignal) => Promise<Socket>;

export interface Target {
  /** A name in lower case, or an address; see `parseHost`. */
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
}

/** What it takes to reach targets. */
export interface Reach {
  readonly resolve: Resolve;
  readonly connect: Connect;
  readonly clock: Clock;
  /** Time for the look-up and all attempts together, in milliseconds. */
  readonly deadline: number;
  /** Whether an address and port are the node's own, which no forward reaches. @default none is */
  readonly isOwn?: ((address: string, port: number) => boolean) | undefined;
}

/** A socket, and the right it stands on. Who gets it closes both. */
export interface Connected {
  readonly socket: Socket;
  readonly grant: Grant;
}

/** Addresses of one name that are tried, at most. */
const MAX_CANDIDATES = 16;

/** RFC 8305 §5: the next address gets its turn when the last has not answered by then. Milliseconds. */
const ATTEMPT_DELAY = 250;

/**
 * Connect to `target` with the rights of `auth`.
 *
 * @throws {FlowRefused} with the reason that tells most.
 * @throws the reason of `signal`, when that is what ended it.
 */
export async function connectTarget(
  auth: AuthContext,
  target: Target,
  reach: Reach,
  signal: AbortSignal,
): Promise<Connected> {
  const { host, port } = target;
  // Who may reach no address under that name has nothing looked up: it is nobody's resolver.
  if (!auth.allows("tunnel:dial", { host, port })) throw notAllowed(auth, target);
  const timeout = reach.clock.timeout(reach.deadline);
  const addresses = await withSignals(addressesOf(host, reach), [signal, timeout]).catch(
    (error: unknown) => {
      signal.throwIfAborted();
      throw refusedFor(error, formatTarget(target));
    },
  );
  if (addresses.length === 0) {
    throw new FlowRefused("host-not-found", `${formatTarget(target)}: name not found`);
  }

  const candidates: { address: string; grant: Grant }[] = [];
  let winner: Connected | undefined;
  try {
    let denied: AccessDenied | undefined;
    let own = false;
    for (const address of interleaved(addresses).slice(0, MAX_CANDIDATES)) {
      try {
        const grant = auth.grant("tunnel:dial", { host, port, address });
        if (reach.isOwn?.(address, port) === true) {
          grant[Symbol.dispose]();
          own = true;
        } else candidates.push({ address, grant });
      } catch (error) {
        if (!(error instanceof AccessDenied)) throw refusedFor(error, formatTarget(target));
        denied ??= error;
      }
    }
    if (candidates.length === 0) {
      throw own ? ownSocket(formatTarget(target)) : notAllowed(auth, target, denied);
    }
    const attempts = candidates.map(({ address, grant }) => async (lost: AbortSignal) => {
      // A right that falls while it is waited for ends this attempt only.
      const attempt = AbortSignal.any([lost, grant.signal]);
      return { socket: await reach.connect(address, port, attempt), grant };
    });
    const given = AbortSignal.any([signal, timeout]);
    winner = await firstOf(attempts, reach.clock, given).catch((error: unknown) => {
      signal.throwIfAborted();
      throw refusedFor(error, formatTarget(target));
    });
    return winner;
  } finally {
    for (const { grant } of candidates) if (grant !== winner?.grant) grant[Symbol.dispose]();
  }
}

/**
 * Connect to `host` for this node itself: no right is asked for. To any of its addresses, in the manner of RFC 8305.
 *
 * @throws the system's error, an `AggregateError` of several, or the reason of `signal`.
 */
export async function connectFirst(
  { host, port }: Target,
  reach: Reach,
  signal: AbortSignal,
): Promise<Socket> {
  const addresses = await withSignals(addressesOf(host, reach), [signal]);
  if (addresses.length === 0) throw Object.assign(new Error("no address"), { code: "ENOTFOUND" });
  const attempts = interleaved(addresses)
    .slice(0, MAX_CANDIDATES)
    .map((address) => async (lost: AbortSignal) => ({
      socket: await reach.connect(address, port, lost),
    }));
  return (await firstOf(attempts, reach.clock, signal)).socket;
}

function firstOf<T extends { readonly socket: Socket }>(
  attempts: readonly ((lost: AbortSignal) => Promise<T>)[],
  clock: Clock,
  signal: AbortSignal,
): Promise<T> {
  return race<T>({
    attempts,
    stagger: ATTEMPT_DELAY,
    isFinal: () => false,
    discard: ({ socket }) => socket.destroy(),
    signal,
    clock,
  });
}

/** The machine's own resolver, as every other program here uses it (hosts file, mDNS, search domains). */
export async function systemResolve(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
}

/** Connect with the machine's own TCP. */
export const systemConnect: Connect = (...to) => connected(connect, ...to);

/** The same, for flows that take large reads (see large-reads.ts). */
export const systemConnectLarge: Connect = (...to) => connected(connectLarge, ...to);

function connected(
  start: (options: TcpNetConnectOpts) => Socket,
  address: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  const options = {
    host: address,
    port,
    allowHalfOpen: true,
    noDelay: true,
    // A target that went away without a word would hold its flow, and the right to it, for ever.
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  return whenConnected(() => start(options), signal);
}

/** The socket that `start` makes, connected and paused. `signal` ends the attempt and leaves nothing behind. */
export function whenConnected(start: () => Socket, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = start();
    const abort = () => socket.destroy(signal.reason as Error);
    socket.once("connect", () => {
      signal.removeEventListener("abort", abort);
      socket.off("error", reject);
      // Who gets it may not listen yet.
      socket.on("error", () => {});
      socket.pause();
      resolve(socket);
    });
    socket.once("error", reject);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    socket.once("close", () => signal.removeEventListener("abort", abort));
  });
}

async function addressesOf(host: string, reach: Reach): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  // RFC 6761 §6.3: never a question for a network.
  if (host === "localhost" || host.endsWith(".localhost")) return ["::1", "127.0.0.1"];
  return await reach.resolve(host);
}

/** RFC 8305 §4: the families take turns, and the resolver's first choice goes first. */
function interleaved(addresses: readonly string[]): string[] {
  const first = isIP(addresses[0] ?? "");
  const mine = addresses.filter((address) => isIP(address) === first);
  const others = addresses.filter((address) => isIP(address) !== first);
  const result: string[] = [];
  for (let at = 0; at < Math.max(mine.length, others.length); at++) {
    result.push(...mine.slice(at, at + 1), ...others.slice(at, at + 1));
  }
  return [...new Set(result)];
}

/** `promise`, or the reason of the first of `signals` to abort. The promise itself goes on, unheard. */
function withSignals<T>(promise: Promise<T>, signals: readonly AbortSignal[]): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => settle(() => reject(signals.find((signal) => signal.aborted)?.reason));
    const settle = (end: () => void) => {
      for (const signal of signals) signal.removeEventListener("abort", aborted);
      end();
    };
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: Error) => settle(() => reject(error)),
    );
    if (signals.some((signal) => signal.aborted)) aborted();
    else for (const signal of signals) signal.addEventListener("abort", aborted, { once: true });
  });
}
