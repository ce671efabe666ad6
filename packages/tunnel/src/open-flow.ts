/**
 * The asking side: have a peer open a TCP connection, and get it as a `Duplex`.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { framed } from "./framed.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { decodeReply, encodeTcpRequest } from "./wire/open.ts";

/** A stream of `alknet/tunnel`, fresh from the dialer. */
export interface TunnelStream {
  readonly stream: Duplex;
  /** Whether its connection has many streams; see `Connection.multiplexed`. */
  readonly multiplexed: boolean;
}

/** Dials a peer for one stream of `alknet/tunnel`. */
export type DialTunnel = (options: { signal?: AbortSignal | undefined }) => Promise<TunnelStream>;

/** A flow that was asked for; the answer is on its way. */
export interface OpeningFlow {
  /**
   * What is written goes out at once, right behind the request, which saves a round trip; the far side takes it
   * when the connection stands. It must not be read before `opened`.
   */
  readonly flow: Duplex;
  /**
   * Resolves when the far side has connected. Rejects with `FlowRefused`, or with what broke the stream;
   * the flow is destroyed then.
   */
  readonly opened: Promise<void>;
}

/**
 * Ask for `host:port` and wait for the answer.
 *
 * Half-close and reset pass through the flow that comes back: `end()` ends one direction,
 * `destroy(error)` resets both.
 *
 * @throws {FlowRefused} if the far side refused.
 */
export async function openFlow(
  dial: DialTunnel,
  target: { readonly host: string; readonly port: number },
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Duplex> {
  const { flow, opened } = await beginFlow(dial, target, options);
  await opened;
  return flow;
}

/** Ask for `host:port`, and do not wait for the answer. Rejects if there is no way to the peer. */
export async function beginFlow(
  dial: DialTunnel,
  { host, port }: { readonly host: string; readonly port: number },
  options: { signal?: AbortSignal | undefined } = {},
): Promise<OpeningFlow> {
  const { signal } = options;
  const request = encodeTcpRequest(host, port);
  const { stream, multiplexed } = await dial({ signal });
  // It may fail while nobody else listens; who uses the flow hears of it again.
  stream.on("error", () => {});
  stream.write(request);
  const flow = multiplexed ? stream : framed(stream);
  const opened = readHead(stream, decodeReply, signal).then(({ value }) => {
    if (value.kind === "refused") throw new FlowRefused(value.refusal, value.text);
  });
  opened.catch((error: Error) => {
    flow.on("error", () => {});
    flow.destroy(error);
  });
  return { flow, opened };
}
