/**
 * What the stream of a listener carries where its connection has only this one stream (TCP+TLS): one
 * announcement for each connection that the listener has taken, inside the records of the flow (record.ts).
 *
 * ```text
 * token     16 bytes    random; whoever had it listen claims the connection with it on a stream of its own
 * port      u16         of where the connection comes from; 0: a Unix socket
 * length    u8          0, or 3 to 45
 * address   `length`    IP address as text, without brackets or zone
 * ```
 *
 * big-endian. Nothing goes the other way; its end is the wish that nobody listens any more.
 *
 * Pure: bytes in, values out.
 *
 * @module
 */

import { isIP } from "node:net";
import { type Decoded, OpenError, TOKEN_LENGTH } from "./open.ts";

/** Longest text of an address: eight groups, the last two as IPv4. */
const MAX_ADDRESS = 45;

/** Bytes before the address. */
const HEAD = TOKEN_LENGTH + 3;

/** A connection that waits to be claimed. */
export interface Announcement {
  /** `TOKEN_LENGTH` bytes. */
  readonly token: Uint8Array;
  /** Where it comes from: an IP address and a port, or empty and 0 for a Unix socket. */
  readonly origin: { readonly address: string; readonly port: number };
}

/** Bytes of an announcement. @throws {RangeError} if its token or origin is none. */
export function encodeAnnouncement({ token, origin: { address, port } }: Announcement): Uint8Array {
  const known = address === "" || (isIP(address) !== 0 && address.length <= MAX_ADDRESS);
  if (token.length !== TOKEN_LENGTH || !known || !(port >= 0 && port <= 65_535)) {
    throw new RangeError("cannot announce connection: expected a token, an IP address and a port");
  }
  const bytes = Buffer.alloc(HEAD + address.length);
  bytes.set(token);
  bytes.writeUInt16BE(port, TOKEN_LENGTH);
  bytes[TOKEN_LENGTH + 2] = address.length;
  bytes.write(address, HEAD, "latin1");
  return bytes;
}

/**
 * Take an announcement off the front of `bytes`.
 *
 * @returns `undefined` until all of it has come.
 * @throws {OpenError} if it is longer than allowed, or its address is none.
 */
export function decodeAnnouncement(bytes: Uint8Array): Decoded<Announcement> | undefined {
  if (bytes.length < HEAD) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = HEAD + view[HEAD - 1]!;
  if (length > HEAD + MAX_ADDRESS) {
    throw new OpenError(`cannot read announcement: address of ${length - HEAD} bytes`);
  }
  if (view.length < length) return undefined;
  const address = view.toString("latin1", HEAD, length);
  if (address !== "" && isIP(address) === 0) {
    throw new OpenError("cannot read announcement: its address is none");
  }
  const token = Uint8Array.from(view.subarray(0, TOKEN_LENGTH));
  return { value: { token, origin: { address, port: view.readUInt16BE(TOKEN_LENGTH) } }, length };
}
