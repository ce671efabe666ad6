/**
 * Reach a node and measure the way, by `alknet/ping`.
 *
 * @module
 */

import { CloseCode } from "@alknet/core/close-code";
import type { Connection } from "@alknet/core/connection";
import type { Dialer } from "@alknet/core/dialer";
import { ping, PING_ALPN } from "@alknet/core/ping";
import { formatMilliseconds } from "./milliseconds.ts";
import { refusalOf } from "./refusal-of.ts";
import { printable } from "./terminal.ts";

export interface ReachOptions {
  /** @default 1 */
  readonly count?: number | undefined;
  /** Between two pings, in milliseconds. @default 1_000 */
  readonly interval?: number | undefined;
  /** Over these only. @default whatever gets through first */
  readonly transports?: readonly ("quic" | "tcp")[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called once the node has been reached, and for each answer. */
  readonly onway?: ((way: Way) => void) | undefined;
  readonly onpong?: ((rtt: number, number: number) => void) | undefined;
}

/** How a node was reached. */
export interface Way {
  readonly transport: string;
  /** `address:port` of the other end. */
  readonly address: string | undefined;
  /** Name by which this node knows the other. */
  readonly peer: string | undefined;
  readonly fingerprint: string | undefined;
  /** From the start of the dial to the end of the handshake, in milliseconds. */
  readonly connected: number;
}

export interface Reached extends Way {
  /** Round-trip times, in milliseconds. */
  readonly rtts: readonly number[];
  /** UDP payload that the path takes, as far as it was found out, in bytes; over QUIC. */
  readonly mtu: number | undefined;
}

/**
 * Dial and ping.
 *
 * @returns the way, and what was measured: at least one round trip.
 * @throws what the dial throws, or why the connection ended.
 */
export async function reach(
  dialer: Dialer,
  target: string,
  options: ReachOptions = {},
): Promise<Reached> {
  const { count = 1, interval, transports, signal } = options;
  const begun = performance.now();
  const connection = await dialer.dial(target, PING_ALPN, { transports, signal });
  const way = wayOf(connection, performance.now() - begun);
  const rtts: number[] = [];
  let mtu: number | undefined;
  try {
    for await (const { rtt, number } of ping(connection, { count, interval, signal })) {
      if (number === 0) options.onway?.(way);
      rtts.push(rtt);
      options.onpong?.(rtt, number);
    }
  } catch (error) {
    signal?.throwIfAborted();
    // Why the connection ended says more than what that did to the stream.
    throw await refusalOf(connection, error);
  } finally {
    mtu = connection.mtu;
    // All that was asked for has come: there is nothing to wait for.
    connection.abort(CloseCode.OK);
  }
  return { ...way, rtts, mtu };
}

/** `laptop 203.0.113.5:7433 over quic, connected in 3.21 ms` */
export function describeWay({ transport, address, peer, connected }: Way): string {
  const who = [peer, address].filter((part) => part !== undefined).join(" ");
  return `${printable(who)} over ${transport}, connected in ${formatMilliseconds(connected)}`;
}

function wayOf({ transport, remoteAddress, auth }: Connection, connected: number): Way {
  const { peer, fingerprint } = auth;
  return { transport, address: remoteAddress, peer: peer?.id, fingerprint, connected };
}
