/**
 * SOCKS version 5, the server's half: RFC 1928, with user and password by RFC 1929. Greeting, choice of method,
 * login, request, reply.
 *
 * Pure: bytes in, values out. A decoder takes what has come so far from the front and answers
 * `undefined` until it is all there; nothing it reads is longer than {@linkcode MAX_GREETING} or
 * {@linkcode MAX_REQUEST} bytes.
 *
 * @module
 */

import type { Refusal } from "./open.ts";
import { parseHost } from "./host.ts";

/** Longest greeting: version, count, 255 methods. In bytes. */
export const MAX_GREETING: number = 2 + 255;

/** Longest request: version, command, reserved, type, length, name of 255 bytes, port. In bytes. */
export const MAX_REQUEST: number = 4 + 1 + 255 + 2;

/** Methods of RFC 1928 §3 that we know. */
export const Method = { NONE: 0, PASSWORD: 2, UNACCEPTABLE: 0xff } as const;

/** Reply codes of RFC 1928 §6. */
export const ReplyCode = {
  SUCCEEDED: 0,
  FAILURE: 1,
  NOT_ALLOWED: 2,
  NETWORK_UNREACHABLE: 3,
  HOST_UNREACHABLE: 4,
  REFUSED: 5,
  TTL_EXPIRED: 6,
  COMMAND_NOT_SUPPORTED: 7,
  ADDRESS_TYPE_NOT_SUPPORTED: 8,
} as const;

export type ReplyCode = (typeof ReplyCode)[keyof typeof ReplyCode];

/** What the client said is not SOCKS 5, or not what we serve. */
export class SocksError extends Error {
  override readonly name = "SocksError";
  readonly code = "SOCKS_REQUEST";
  /** What to answer before closing; `undefined`: say nothing, the client does not speak SOCKS 5. */
  readonly reply: ReplyCode | undefined;

  constructor(message: string, reply: ReplyCode | undefined, options?: ErrorOptions) {
    super(message, options);
    this.reply = reply;
  }
}

export interface Greeting {
  readonly methods: readonly number[];
  /** Bytes it took off the front. */
  readonly length: number;
}

export interface SocksRequest {
  readonly command: "connect" | "bind" | "udp-associate";
  /** A name in lower case, or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Bytes it took off the front. */
  readonly length: number;
}

/**
 * Take the client's greeting off the front of `bytes`.
 *
 * @throws {SocksError} without a reply if the version is not 5.
 */
export function decodeGreeting(bytes: Uint8Array): Greeting | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] !== 5) {
    const looksLike = bytes[0] === 4 ? "SOCKS 4" : bytes[0]! >= 0x41 ? "HTTP" : "something else";
    throw new SocksError(
      `cannot serve SOCKS client: expected version 5, got ${bytes[0]} (${looksLike})`,
      undefined,
    );
  }
  if (bytes.length < 2) return undefined;
  const length = 2 + bytes[1]!;
  return bytes.length < length ? undefined : { methods: [...bytes.subarray(2, length)], length };
}

/** The method we chose among those of the greeting. */
export function encodeMethod(method: number): Uint8Array {
  return Uint8Array.of(5, method);
}

const commands = [undefined, "connect", "bind", "udp-associate"] as const;

/**
 * Take the client's request off the front of `bytes`.
 *
 * @throws {SocksError} as soon as it is known to be wrong, with the reply that says how.
 */
export function decodeSocksRequest(bytes: Uint8Array): SocksRequest | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] !== 5) {
    throw new SocksError(
      `cannot read SOCKS request: expected version 5, got ${bytes[0]}`,
      ReplyCode.FAILURE,
    );
  }
  if (bytes.length < 2) return undefined;
  const command = commands[bytes[1]!];
  if (command === undefined) {
    throw new SocksError(
      `cannot read SOCKS request: no command ${bytes[1]}`,
      ReplyCode.COMMAND_NOT_SUPPORTED,
    );
  }
  if (bytes.length < 5) return undefined;
  const type = bytes[3]!;
  const addressLength = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? 1 + bytes[4]! : undefined;
  if (addressLength === undefined) {
    throw new SocksError(
      `cannot read SOCKS request: no address type ${type}`,
      ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
    );
  }
  const length = 4 + addressLength + 2;
  if (bytes.length < length) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, length);
  const host =
    type === 1
      ? view.subarray(4, 8).join(".")
      : type === 4
        ? formatIpv6(view.subarray(4, 20))
        : command === "udp-associate"
          ? "0.0.0.0" // Where a client sends from is no name: PySocks writes "0".
          : nameOf(view.toString("latin1", 5, length - 2));
  return { command, host, port: view.readUInt16BE(length - 2), length };
}

/** Longest login: version, two lengths, 255 bytes each. In bytes. */
export const MAX_LOGIN: number = 3 + 2 * 255;

/** User and password as they came: bytes, for RFC 1929 says of no encoding. */
export interface Login {
  readonly user: Uint8Array;
  readonly password: Uint8Array;
  /** Bytes it took off the front. */
  readonly length: number;
}

/**
 * Take the client's login off the front of `bytes`, RFC 1929 §2.
 *
 * @throws {SocksError} without a reply if it is none.
 */
export function decodeLogin(bytes: Uint8Array): Login | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] !== 1) {
    throw new SocksError(`cannot read SOCKS login: expected version 1, got ${bytes[0]}`, undefined);
  }
  if (bytes.length < 2) return undefined;
  const userEnd = 2 + bytes[1]!;
  if (bytes.length <= userEnd) return undefined;
  const length = userEnd + 1 + bytes[userEnd]!;
  if (bytes.length < length) return undefined;
  const user = Uint8Array.from(bytes.subarray(2, userEnd));
  return { user, password: Uint8Array.from(bytes.subarray(userEnd + 1, length)), length };
}

/** Whether the login is accepted; after a refusal the server closes. */
export function encodeLoginReply(accepted: boolean): Uint8Array {
  return Uint8Array.of(1, accepted ? 0 : 1);
}

/** Where a relay of UDP listens, in a reply. */
export interface BoundAddress {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
}

const UNSPECIFIED: BoundAddress = { address: new Uint8Array(4), port: 0 };

/**
 * A reply.
 *
 * @param bound Without it, `0.0.0.0:0`: where the far side connects from is its own affair, and clients of
 *   CONNECT do not look.
 */
export function encodeSocksReply(code: ReplyCode, bound: BoundAddress = UNSPECIFIED): Uint8Array {
  const { address, port } = bound;
  const type = address.length === 4 ? 1 : 4;
  return Uint8Array.of(5, code, 0, type, ...address, port >> 8, port & 0xff);
}

/** The reply that tells a SOCKS client why the far side refused. */
export function replyCodeOf(refusal: Refusal): ReplyCode {
  switch (refusal) {
    case "not-allowed":
      return ReplyCode.NOT_ALLOWED;
    case "network-unreachable":
      return ReplyCode.NETWORK_UNREACHABLE;
    case "host-not-found":
    case "host-unreachable":
      return ReplyCode.HOST_UNREACHABLE;
    case "refused":
      return ReplyCode.REFUSED;
    case "timed-out":
      return ReplyCode.TTL_EXPIRED;
    case "unsupported":
      return ReplyCode.COMMAND_NOT_SUPPORTED;
    case "limit":
    case "draining":
    case "failed":
    case "in-use":
      return ReplyCode.FAILURE;
  }
}

/** RFC 1928 has no reply for a name that cannot be one: it leads to no host. */
function nameOf(text: string): string {
  try {
    return parseHost(text);
  } catch (cause) {
    throw new SocksError(
      "cannot read SOCKS request: its name is none",
      ReplyCode.HOST_UNREACHABLE,
      {
        cause,
      },
    );
  }
}

/** 16 bytes as text, RFC 5952 §4 without its shortening: the far side parses it, nobody reads it. */
function formatIpv6(bytes: Buffer): string {
  const groups: string[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(bytes.readUInt16BE(at).toString(16));
  return groups.join(":");
}
