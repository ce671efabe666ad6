/**
 * UDP packets of SOCKS 5 clients: RFC 1928 §7.
 *
 * ```text
 * reserved u16    fragment u8    type u8    address    port u16    data
 * ```
 *
 * Pure: bytes in, values out.
 *
 * @module
 */

import { decodeSocksRequest, MAX_REQUEST, SocksError } from "./socks5.ts";

/** A packet taken apart; header and data are views. */
export interface SocksPacket {
  /** A name in lower case, or an address; IPv6 without brackets. */
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
  /** All in front of the data: what comes back from there carries the same. */
  readonly header: Uint8Array;
  readonly data: Uint8Array;
}

/**
 * Take a packet apart. `undefined` for what is none, or is a fragment: both are to be dropped, as that section
 * says of who does not put fragments together.
 */
export function decodeSocksPacket(packet: Uint8Array): SocksPacket | undefined {
  if (packet.length < 4 || packet[2] !== 0) return undefined;
  // From the type of the address on, a packet is laid out as a request is.
  const request = Uint8Array.from(packet.subarray(0, MAX_REQUEST));
  request.set([5, 1, 0]);
  try {
    const decoded = decodeSocksRequest(request);
    if (decoded === undefined || decoded.port === 0) return undefined;
    const { host, port, length } = decoded;
    return { host, port, header: packet.subarray(0, length), data: packet.subarray(length) };
  } catch (error) {
    if (error instanceof SocksError) return undefined;
    throw error;
  }
}
