/**
 * The serving side of a UDP flow: packets of the peer to its target, and what the target answers.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { Clock } from "@alknet/core/clock";
import type { Connection } from "@alknet/core/connection";
import { connectionDatagrams } from "./connection-datagrams.ts";
import type { Target } from "./granted-addresses.ts";
import type { Outbound } from "./outbound.ts";
import { DEFAULT_UDP_IDLE, packetFlow } from "./packet-flow.ts";
import { encodeReply } from "./wire/open.ts";
import { encodeFlowNumber } from "./wire/opened.ts";

/** A stream whose request has been read. */
export interface UdpStream {
  readonly connection: Connection;
  readonly stream: Duplex;
  /** Aborts when the stream has gone. */
  readonly gone: AbortSignal;
}

/**
 * Carry a UDP flow to its end: the peer's, that of its right, or a minute of silence.
 *
 * @returns how many packets were dropped here, of both directions.
 * @throws {FlowRefused} if the target is not to be reached: the peer has no answer then.
 * @throws the reason of `gone`, when that is what ended it before it began.
 */
export async function serveUdp(
  outbound: Outbound,
  { connection, stream, gone }: UdpStream,
  target: Target,
  clock: Clock,
): Promise<number> {
  using udp = await outbound.openUdp(connection.auth, target, { signal: gone });
  let dropped = 0;
  const packets = packetFlow(stream, {
    clock,
    idle: DEFAULT_UDP_IDLE,
    onpacket: (packet) => void (udp.send(packet) || dropped++),
  });
  udp.listen((packet) => packets.send(packet));
  const datagrams = connectionDatagrams(connection);
  // Without datagrams nothing is sent under that number.
  const flow = datagrams?.allocate() ?? 0;
  stream.write(encodeReply({ kind: "open", body: encodeFlowNumber(flow) }));
  packets.start(flow, datagrams);
  const fall = (): void => void stream.destroy(udp.signal.reason as Error);
  if (udp.signal.aborted) fall();
  else udp.signal.addEventListener("abort", fall, { once: true });
  await packets.closed;
  return dropped + packets.dropped;
}
