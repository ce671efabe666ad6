/**
 * Connect to a target for a peer: the name, its addresses, the right to each, and the first that answers.
 *
 * The address that a right was checked for is the address connected to: no name is looked up twice, so a
 * resolver that changes its mind (DNS rebinding) gains nothing.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { connect, type Socket, type TcpNetConnectOpts } from "node:net";
import type { AuthContext, Grant } from "@alknet/core/access";
import type { Clock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import { race } from "@alknet/core/race";
import { refusedFor } from "./connect-failure.ts";
import {
  addressesOf,
  type Candidate,
  type Finding,
  grantedAddresses,
  type Target,
} from "./granted-addresses.ts";
import { connectLarge } from "./large-reads.ts";
import { stopWith, TOO_LATE } from "./stop.ts";
import { formatTarget } from "./wire/host.ts";

/**
 * Open a TCP connection. The socket allows half-open, has no Nagle delay, and is paused.
 *
 * Rejects with the system's error; `signal` ends the attempt and leaves nothing behind.
 */
export type Connect = (address: string, port: number, signal: AbortSignal) => Promise<Socket>;

/** What it takes to reach targets. */
export interface Reach extends Finding {
  readonly connect: Connect;
  readonly clock: Clock;
  /** Time for the look-up and all attempts together, in milliseconds. */
  readonly deadline: number;
}

/** A socket, and the right it stands on. Who gets it closes both. */
export interface Connected {
  readonly socket: Socket;
  readonly grant: Grant;
}

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
  const { port } = target;
  using given = stopWith(signal);
  const inTime = deadlines(reach.deadline, reach.clock).add(() => given.abort(TOO_LATE));
  let candidates: readonly Candidate[] = [];
  let winner: Connected | undefined;
  try {
    candidates = await grantedAddresses(auth, target, reach, given.signal);
    const attempts = candidates.map(({ address, grant }) => async (lost: AbortSignal) => {
      // A right that falls while it is waited for ends this attempt only.
      using attempt = stopWith(lost, grant.signal);
      return { socket: await reach.connect(address, port, attempt.signal), grant };
    });
    winner = await firstOf(attempts, reach.clock, given.signal);
    return winner;
  } catch (error) {
    signal.throwIfAborted();
    throw refusedFor(error, formatTarget(target));
  } finally {
    inTime();
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
  const addresses = await addressesOf(host, reach.resolve, signal);
  const attempts = addresses.map((address) => async (lost: AbortSignal) => ({
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
