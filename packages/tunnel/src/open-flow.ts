/**
 * The asking side: have a peer open a connection, TCP or to a Unix socket, and get it as a `Duplex`.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import { type Connection, ConnectionClosed } from "@alknet/core/connection";
import { framed } from "./framed.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { decodeReply, encodeRequest, type KnownRequest } from "./wire/open.ts";

/** A stream of `alknet/tunnel`, as `Dialer.open` gives it. */
export interface TunnelStream {
  readonly stream: Duplex;
  /** Only to know it again: whether it is alive has been seen on one flow or the other. */
  readonly connection: object;
  /** Whether its connection has many streams; see `Connection.multiplexed`. */
  readonly multiplexed: boolean;
}

/** Dials a peer for one stream of `alknet/tunnel`. */
export type DialTunnel = (options: { signal?: AbortSignal | undefined }) => Promise<TunnelStream>;

/** The same, and tells the connection: for who needs more of it than that stream. */
export type DialWithConnection = (options: {
  signal?: AbortSignal | undefined;
}) => Promise<TunnelStream & { readonly connection: Connection }>;

export interface OpenFlowOptions {
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
}

/** A flow that was asked for; the answer may be on its way. */
export interface OpeningFlow {
  /**
   * What is written goes out at once, right behind the request, which saves a round trip; the far side takes
   * it when the connection stands. It must not be read before `opened`.
   */
  readonly flow: Duplex;
  /**
   * Resolves when the far side has connected. Rejects with `FlowRefused`, or with what broke the stream;
   * the flow is destroyed then.
   */
  readonly opened: Promise<void>;
}

/** What the far side is asked to connect to. */
export type FlowTarget =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/**
 * Ask for `target` and wait for the answer.
 *
 * Half-close and reset pass through the flow that comes back: `end()` ends one direction,
 * `destroy(error)` resets both.
 *
 * @throws {FlowRefused} if the far side refused.
 */
export async function openFlow(
  dial: DialTunnel,
  target: FlowTarget,
  options: OpenFlowOptions = {},
): Promise<Duplex> {
  const request = encodeRequest(requestFor(target));
  const first = await ask(dial, request, options);
  try {
    await first.opened;
    return first.flow;
  } catch (error) {
    if (!isStale(error)) throw error;
  }
  const second = await ask(dial, request, options);
  await second.opened;
  return second.flow;
}

/**
 * Ask for `target`, and do not wait for the answer where the connection is known to be alive. Rejects
 * if there is no way to the peer.
 *
 * A connection that has been silent may have died without a word: the node was restarted, the network
 * changed. On such a one the answer is waited for, so that nothing was sent when it is asked for again on a
 * fresh one: what went out twice could be done twice.
 */
export async function beginFlow(
  dial: DialTunnel,
  target: FlowTarget,
  options: OpenFlowOptions = {},
): Promise<OpeningFlow> {
  const request = encodeRequest(requestFor(target));
  const first = await ask(dial, request, options);
  if (first.alive) return first;
  try {
    await first.opened;
    return first;
  } catch (error) {
    if (!isStale(error)) throw error;
  }
  return await ask(dial, request, options);
}

function requestFor(target: FlowTarget): KnownRequest {
  return "path" in target ? { kind: "unix", ...target } : { kind: "tcp", ...target };
}

/** How long after the last answer a connection passes for alive, in milliseconds: no node restarts in less. */
const ALIVE = 100;

/** When a connection was heard of last, by its clock. */
const heard = new WeakMap<object, number>();

async function ask(
  dial: DialTunnel,
  request: Uint8Array,
  { signal, clock = systemClock }: OpenFlowOptions,
): Promise<OpeningFlow & { readonly alive: boolean }> {
  const { stream, connection, multiplexed } = await dial({ signal });
  const last = heard.get(connection);
  // One that was never seen has just been made.
  const alive = last === undefined || clock.now() - last < ALIVE;
  const hear = (): void => void heard.set(connection, clock.now());
  if (last === undefined) hear();
  // It may fail while nobody else listens; who uses the flow hears of it again.
  stream.on("error", () => {});
  stream.once("end", hear);
  stream.write(request);
  const flow = multiplexed ? stream : framed(stream);
  // The flow hears of it before who waits for `opened` does: that ended the program.
  if (!multiplexed) flow.on("error", () => {});
  const opened = readHead(stream, decodeReply, signal).then(({ value }) => {
    hear();
    if (value.kind === "refused") throw new FlowRefused(value.refusal, value.text);
  });
  opened.catch((error: Error) => {
    flow.destroy(error);
  });
  return { flow, opened, alive };
}

/** The connection died under the request, before the peer said anything to it. */
function isStale(error: unknown): boolean {
  if (!(error instanceof ConnectionClosed)) return false;
  return error.reason.by === "transport" || error.code === "DRAINING";
}
