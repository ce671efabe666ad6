/**
 * The asking side of a UDP flow: have a peer send packets to a target, and get what comes back.
 *
 * @module
 */

import { type Clock, systemClock } from "@alknet/core/clock";
import { connectionDatagrams } from "./connection-datagrams.ts";
import type { Target } from "./granted-addresses.ts";
import type { DialWithConnection } from "./open-flow.ts";
import { DEFAULT_UDP_IDLE, packetFlow } from "./packet-flow.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { decodeReply, encodeRequest } from "./wire/open.ts";
import { decodeFlowNumber } from "./wire/opened.ts";

export interface OpenUdpOptions {
  /** Gets each packet that comes back. */
  onpacket: (packet: Uint8Array) => void;
  /** How long the flow may be silent, in milliseconds; the far side has a time of its own. @default 60_000 */
  idle?: number | undefined;
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
}

export interface UdpFlow {
  /**
   * Send a packet of at most 65,507 bytes. Those that are sent ahead of the answer travel right behind the request.
   *
   * @returns false: dropped.
   */
  send(packet: Uint8Array): boolean;
  /** Packets that were dropped here. */
  readonly dropped: number;
  /** End it. Idempotent. */
  close(): void;
  /**
   * Resolves at its end, with what ended it before its time, if anything did: `FlowRefused`, or what broke the
   * stream.
   */
  readonly closed: Promise<Error | undefined>;
}

/** Ask for a flow of UDP packets to `target`. Rejects if there is no way to the peer. */
export async function openUdp(
  dial: DialWithConnection,
  target: Target,
  options: OpenUdpOptions,
): Promise<UdpFlow> {
  const { onpacket, idle = DEFAULT_UDP_IDLE, signal, clock = systemClock } = options;
  const request = encodeRequest({ kind: "udp", host: target.host, port: target.port });
  const { stream, connection } = await dial({ signal });
  const datagrams = connectionDatagrams(connection);
  const expected = datagrams?.expect();
  stream.write(request);
  const packets = packetFlow(stream, { clock, idle, onpacket });

  async function follow(): Promise<Error | undefined> {
    try {
      const { value } = await readHead(stream, decodeReply, signal);
      if (value.kind === "refused") throw new FlowRefused(value.refusal, value.text);
      packets.start(decodeFlowNumber(value.body), datagrams);
    } catch (error) {
      stream.destroy(error as Error);
      await packets.closed;
      return error as Error;
    } finally {
      expected?.[Symbol.dispose]();
    }
    const abort = (): void => packets.end();
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true });
    const broken = await packets.closed;
    signal?.removeEventListener("abort", abort);
    return broken;
  }

  return {
    send: (packet) => packets.send(packet),
    get dropped() {
      return packets.dropped;
    },
    close: () => packets.end(),
    closed: follow(),
  };
}
