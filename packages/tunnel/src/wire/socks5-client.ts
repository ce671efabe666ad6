/**
 * SOCKS version 5, the client's half: RFC 1928, with a user and password by RFC 1929.
 *
 * Pure: bytes in, values out. A decoder takes what has come so far from the front and answers `undefined` until it
 * is all there; nothing that it reads is longer than 262 bytes.
 *
 * @module
 */

import { parseHost } from "./host.ts";
import type { Decoded } from "./open.ts";

/** What the proxy said is not SOCKS 5. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
  readonly code = "PROXY_REPLY";
}

/** Methods of RFC 1928 §3. */
const NONE = 0;
const PASSWORD = 2;

/** Types of addresses of RFC 1928 §5. */
const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;

/** What the client begins with. */
export function encodeGreeting(methods: { readonly password: boolean }): Uint8Array {
  return methods.password ? Buffer.of(5, 2, NONE, PASSWORD) : Buffer.of(5, 1, NONE);
}

/** @throws {ProxyError} if it is no SOCKS 5. */
export function decodeMethod(
  bytes: Uint8Array,
): Decoded<"none" | "password" | "unacceptable"> | undefined {
  if (bytes.length > 0 && bytes[0] !== 5) throw new ProxyError("the proxy speaks no SOCKS 5");
  if (bytes.length < 2) return undefined;
  switch (bytes[1]!) {
    case NONE:
      return { value: "none", length: 2 };
    case PASSWORD:
      return { value: "password", length: 2 };
    default:
      return { value: "unacceptable", length: 2 };
  }
}

/** RFC 1929 §2. Both are 1 to 255 bytes of UTF-8. */
export function encodeLogin(user: string, password: string): Uint8Array {
  const parts = [user, password].map((text) => {
    const bytes = Buffer.from(text);
    if (bytes.length < 1 || bytes.length > 255) {
      throw new RangeError("cannot log in: expected user and password of 1 to 255 bytes");
    }
    return Buffer.concat([Buffer.of(bytes.length), bytes]);
  });
  return Buffer.concat([Buffer.of(1), ...parts]);
}

/** Whether the login was accepted. */
export function decodeLoginReply(bytes: Uint8Array): Decoded<boolean> | undefined {
  // Some answer with version 5: the status is what counts.
  return bytes.length < 2 ? undefined : { value: bytes[1] === 0, length: 2 };
}

/**
 * Ask for a connection to a name, or to an address of 4 or 16 bytes: an address never travels as a name.
 *
 * @throws {SyntaxError} if the name is none.
 */
export function encodeConnect(to: string | Uint8Array, port: number): Uint8Array {
  const end = Buffer.of(port >> 8, port & 0xff);
  if (typeof to !== "string") {
    return Buffer.concat([Buffer.of(5, 1, 0, to.length === 4 ? IPV4 : IPV6), to, end]);
  }
  const name = Buffer.from(parseHost(to), "latin1");
  return Buffer.concat([Buffer.of(5, 1, 0, NAME, name.length), name, end]);
}

/**
 * The reply code of RFC 1928 §6; the address in it says nothing that we need.
 *
 * @throws {ProxyError} if it is no reply.
 */
export function decodeConnectReply(bytes: Uint8Array): Decoded<number> | undefined {
  if (bytes.length > 0 && bytes[0] !== 5) throw new ProxyError("the proxy answers no SOCKS 5");
  if (bytes.length < 2) return undefined;
  const code = bytes[1]!;
  // Some send nothing more when they refuse, and close.
  if (code !== 0) return { value: code, length: 2 };
  if (bytes.length < 5) return undefined;
  const length = 6 + addressLength(bytes[3]!, bytes[4]!);
  return bytes.length < length ? undefined : { value: code, length };
}

function addressLength(type: number, first: number): number {
  switch (type) {
    case IPV4:
      return 4;
    case NAME:
      return 1 + first;
    case IPV6:
      return 16;
    default:
      throw new ProxyError(`the proxy answers with an address of type ${type}, expected 1, 3 or 4`);
  }
}
