/**
 * SOCKS version 4 and 4a, the server's half, as `SOCKS4.protocol` and `SOCKS4A.protocol` (Ying-Da Lee, NEC)
 * have them.
 *
 * ```text
 * request   4 u8    command u8 (1: connect, 2: bind)    port u16    IPv4 address    user, zero byte
 *           4a: the address is 0.0.0.x, x not 0, and a name and a zero byte follow
 * reply     0 u8    code u8    port u16    IPv4 address
 * ```
 *
 * Pure: bytes in, values out. A decoder takes what has come so far from the front and answers `undefined` until
 * it is all there; nothing that it reads is longer than {@linkcode MAX_SOCKS4} bytes.
 *
 * @module
 */

import { parseHost } from "./host.ts";

/** Longest user or name, in bytes. */
const MAX_TEXT = 255;

/** Longest request, in bytes. */
export const MAX_SOCKS4: number = 8 + 2 * (MAX_TEXT + 1);

/** Reply codes; those for `identd` are left to who has one. */
export const Socks4Code = { GRANTED: 90, REJECTED: 91 } as const;

export type Socks4Code = (typeof Socks4Code)[keyof typeof Socks4Code];

/** What the client said is not SOCKS 4, or not what we serve. It is to be answered with `REJECTED`. */
export class Socks4Error extends Error {
  override readonly name = "Socks4Error";
  readonly code = "SOCKS_REQUEST";
}

export interface Socks4Request {
  readonly command: "connect" | "bind";
  /** A name in lower case, or an IPv4 address. */
  readonly host: string;
  readonly port: number;
  /** Bytes it took off the front. */
  readonly length: number;
}

const commands = [undefined, "connect", "bind"] as const;

/**
 * Take the client's request off the front of `bytes`. Its user is whoever it says: it is not looked at.
 *
 * @throws {Socks4Error} as soon as it is known to be wrong.
 */
export function decodeSocks4Request(bytes: Uint8Array): Socks4Request | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] !== 4) throw new Socks4Error(`cannot read SOCKS 4 request: version ${bytes[0]}`);
  if (bytes.length < 2) return undefined;
  const command = commands[bytes[1]!];
  if (command === undefined) {
    throw new Socks4Error(`cannot read SOCKS 4 request: no command ${bytes[1]}`);
  }
  if (bytes.length < 9) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const port = view.readUInt16BE(2);
  const userEnd = endOf(view, 8);
  if (userEnd === undefined) return undefined;
  const address = view.subarray(4, 8);
  const isName = address.readUIntBE(0, 3) === 0 && address[3] !== 0;
  if (!isName) return { command, host: address.join("."), port, length: userEnd + 1 };
  const nameEnd = endOf(view, userEnd + 1);
  if (nameEnd === undefined) return undefined;
  const host = nameOf(view.toString("latin1", userEnd + 1, nameEnd));
  return { command, host, port, length: nameEnd + 1 };
}

/** A reply. Its port and address mean nothing to who asked to connect. */
export function encodeSocks4Reply(code: Socks4Code): Uint8Array {
  return Uint8Array.of(0, code, 0, 0, 0, 0, 0, 0);
}

/** Where the text that begins at `start` has its zero byte. */
function endOf(view: Buffer, start: number): number | undefined {
  const end = view.subarray(start, start + MAX_TEXT + 1).indexOf(0);
  if (end >= 0) return start + end;
  if (view.length <= start + MAX_TEXT) return undefined;
  throw new Socks4Error(`cannot read SOCKS 4 request: text of more than ${MAX_TEXT} bytes`);
}

function nameOf(text: string): string {
  try {
    return parseHost(text);
  } catch (cause) {
    throw new Socks4Error("cannot read SOCKS 4 request: its name is none", { cause });
  }
}
