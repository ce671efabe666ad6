/**
 * How connections go: times, windows, sizes of packets, how the rate is found.
 *
 * @module
 */

import { checkInteger } from "./check-integer.ts";
import type { NativeTransport } from "./native.ts";

/** Times in milliseconds, windows and buffers in bytes. */
export interface TransportOptions {
  /** Without any packet for this long the connection ends. 0: never. @default 30_000 */
  idleTimeout?: number | undefined;
  /** PING after this long without a packet, while a stream is open. 0: never. @default 10_000 */
  keepAlive?: number | undefined;
  /** @default 10_000 */
  handshakeTimeout?: number | undefined;
  /** Streams that the peer may have open at first, bidirectional and unidirectional each. @default 64 */
  maxStreams?: number | undefined;
  /** @default 16 MiB */
  streamReceiveWindow?: number | undefined;
  /** @default 64 MiB */
  receiveWindow?: number | undefined;
  /** Most bytes of writes that are buffered here; what is used follows the path's capacity. @default 32 MiB */
  sendWindow?: number | undefined;
  /** UDP payload to start with, at most 10,000. @default 1_200 */
  initialMtu?: number | undefined;
  /** Largest UDP payload that is probed for; up to 6,400 pays on loopback and jumbo frames. @default 1_452 */
  mtuUpperBound?: number | undefined;
  /** How the rate is found: by what the path delivers, or, the other two, by losses. @default "bbr" */
  congestion?: "cubic" | "newreno" | "bbr" | undefined;
  /** Bytes of datagrams buffered each way; 0: no datagrams. @default 1 MiB */
  datagramBuffer?: number | undefined;
}

/** Above, the packets of a handshake are longer than the initial congestion window allows. */
const MAX_INITIAL_MTU = 10_000;
/** Milliseconds: 24 days. */
const MAX_TIME = 2 ** 31 - 1;
/** Bytes. */
const MAX_WINDOW = 2 ** 40;
const CONGESTION = { cubic: 0, newreno: 1, bbr: 2 } as const;

/** What `options` says, else what `defaults` says, else our defaults. */
export function transportOf(
  options: TransportOptions = {},
  defaults: TransportOptions = {},
): NativeTransport {
  const number = (
    name: Exclude<keyof TransportOptions, "congestion">,
    otherwise: number,
    low: number,
    high: number,
  ): number =>
    checkInteger("set transport", name, options[name] ?? defaults[name] ?? otherwise, low, high);
  const congestion = options.congestion ?? defaults.congestion ?? "bbr";
  if (!Object.hasOwn(CONGESTION, congestion)) {
    throw new TypeError(
      `cannot set transport: congestion must be cubic, newreno or bbr, got ${JSON.stringify(congestion)}`,
    );
  }
  return {
    idleTimeout: number("idleTimeout", 30_000, 0, MAX_TIME),
    keepAlive: number("keepAlive", 10_000, 0, MAX_TIME),
    handshakeTimeout: number("handshakeTimeout", 10_000, 0, MAX_TIME),
    maxStreams: number("maxStreams", 64, 0, 65_536),
    streamReceiveWindow: number("streamReceiveWindow", 16 * 2 ** 20, 0, MAX_WINDOW),
    receiveWindow: number("receiveWindow", 64 * 2 ** 20, 0, MAX_WINDOW),
    sendWindow: number("sendWindow", 32 * 2 ** 20, 0, MAX_WINDOW),
    initialMtu: number("initialMtu", 1_200, 1_200, MAX_INITIAL_MTU),
    mtuUpperBound: number("mtuUpperBound", 1_452, 1_200, 65_000),
    congestion: CONGESTION[congestion],
    datagramBuffer: number("datagramBuffer", 2 ** 20, 0, 2 ** 30),
  };
}
