/**
 * The head of every stream of `alknet/tunnel`: what the client asks for, and the answer.
 *
 * ```text
 * request   kind u8    length u16    body, `length` bytes, at most 1,024
 *   1  a TCP connection     port u16 (1 to 65,535), host (the rest: 1 to 253 bytes, see host.ts)
 *   2  a UDP flow           the same
 *   3  a Unix socket        path (1 to 107 bytes of UTF-8, absolute)
 *   4  a TCP listener       port u16 (0: any), host (may be empty: all addresses)
 *   5  a Unix listener      path
 *   6  a claim              token, 16 bytes: of a connection that a listener has announced
 *   7  a connection         listener u32, port u16 (0: none), address (of where it comes from; may be empty);
 *                           here the listening node opens the stream, to who had it listen
 *   a side that does not know a kind can skip its body, and answers `unsupported`
 *
 * reply     status u8  length u16    body, `length` bytes, at most 1,024
 *   status 0, open:             body as opened.ts has it for some kinds; skipped by who does not know it
 *   any other, see `Refusal`:   body is text for people, UTF-8
 * ```
 *
 * Numbers are big-endian. There is no version: a change that breaks this takes a new ALPN.
 *
 * The client may send data right behind its request: the server leaves it in the stream until the
 * connection stands. After `open` both directions carry the flow: bytes as they are where the connection
 * has many streams (end of stream is the end, reset is a reset), records (record.ts) where it has one.
 * After a refusal the server ends the stream.
 *
 * @module
 */

import { isIP } from "node:net";
import { parseHost } from "./host.ts";
import { parseUnixPath } from "./unix-path.ts";

/** Longest body of a request or a reply, in bytes. */
export const MAX_BODY: number = 1_024;

/** Length of the token that claims an announced connection, in bytes. */
export const TOKEN_LENGTH: number = 16;

/** Bytes before the body. */
const HEAD = 3;

/** Open a TCP connection on the far side, or a UDP socket that is connected to one target. */
export interface HostRequest {
  readonly kind: "tcp" | "udp";
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
}

/** Connect to a Unix socket, or listen on one. */
export interface UnixRequest {
  readonly kind: "unix" | "listen-unix";
  readonly path: string;
}

/** Listen for TCP connections on the far side. */
export interface ListenRequest {
  readonly kind: "listen-tcp";
  /** Empty: all addresses. */
  readonly host: string;
  /** 0: any. */
  readonly port: number;
}

/** Take a connection that a listener has announced. */
export interface ClaimRequest {
  readonly kind: "claim";
  /** {@linkcode TOKEN_LENGTH} bytes. */
  readonly token: Uint8Array;
}

/** A connection that a listener has taken, for who had it listen. */
export interface AcceptedRequest {
  readonly kind: "accepted";
  /** The number that the listener was given in the reply; see `opened.ts`. */
  readonly listener: number;
  /** Where it comes from: an IP address and a port, or empty and 0 for a Unix socket. */
  readonly origin: { readonly address: string; readonly port: number };
}

/** What one side may ask of the other. */
export type KnownRequest =
  | HostRequest
  | UnixRequest
  | ListenRequest
  | ClaimRequest
  | AcceptedRequest;

/** A kind this side does not know; its body was well-formed enough to skip. */
export interface UnknownRequest {
  readonly kind: "unknown";
  readonly number: number;
}

/** Why the far side did not open what was asked. The order is the number on the wire, from 1. */
const refusals = [
  /** The caller's rights do not cover the name, nor any address it stands for. */
  "not-allowed",
  /** The name has no address. */
  "host-not-found",
  /** The target answered: nobody listens there. */
  "refused",
  "host-unreachable",
  "network-unreachable",
  /** No answer from the resolver or the target in time. */
  "timed-out",
  /** A limit of the far node: flows, or requests under way. Later may be better. */
  "limit",
  /** The far side does not know this kind of request. */
  "unsupported",
  /** The far node is shutting down. */
  "draining",
  /** A fault of the far node. */
  "failed",
  /** Of a listener: something listens there already. */
  "in-use",
] as const;

export type Refusal = (typeof refusals)[number];

export type Reply =
  /** The body tells more for some kinds of requests; see `opened.ts`. */
  | { readonly kind: "open"; readonly body: Uint8Array }
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly text: string };

/** The peer broke the format of a head. There is no way back into step: reset the stream. */
export class OpenError extends Error {
  override readonly name = "OpenError";
  readonly code = "PROTOCOL";
}

/** A decoded head, and how many bytes it took off the front. */
export interface Decoded<T> {
  readonly value: T;
  readonly length: number;
}

/** Kinds by their number on the wire, from 1. */
const kinds = [
  "tcp",
  "udp",
  "unix",
  "listen-tcp",
  "listen-unix",
  "claim",
  "accepted",
] as const satisfies readonly KnownRequest["kind"][];

/**
 * Bytes of a request.
 *
 * @throws {SyntaxError} if its host or path is none (see `parseHost`, `parseUnixPath`).
 * @throws {RangeError} if its port, token or number is out of range.
 */
export function encodeRequest(request: KnownRequest): Uint8Array {
  return encode(kinds.indexOf(request.kind) + 1, bodyOf(request));
}

function bodyOf(request: KnownRequest): Uint8Array {
  switch (request.kind) {
    case "tcp":
    case "udp":
      return Buffer.concat([port(request.port, 1), latin1(parseHost(request.host))]);
    case "unix":
    case "listen-unix":
      return Buffer.from(parseUnixPath(request.path));
    case "listen-tcp":
      return Buffer.concat([port(request.port, 0), latin1(hostOrNone(request.host))]);
    case "claim":
      if (request.token.length === TOKEN_LENGTH) return request.token;
      throw new RangeError(
        `cannot claim by ${request.token.length} bytes: expected ${TOKEN_LENGTH}`,
      );
    case "accepted": {
      const { listener, origin } = request;
      return Buffer.concat([
        u32(listener),
        port(origin.port, 0),
        latin1(hostOrNone(origin.address)),
      ]);
    }
  }
}

/**
 * Take a request off the front of `bytes`.
 *
 * @returns `undefined` until all of it has come.
 * @throws {OpenError} if it is longer than allowed, or its body is not what its kind says.
 */
export function decodeRequest(
  bytes: Uint8Array,
): Decoded<KnownRequest | UnknownRequest> | undefined {
  const head = decode(bytes, "request");
  if (head === undefined) return undefined;
  const { number, body, length } = head;
  const kind = kinds[number - 1];
  if (kind === undefined) return { value: { kind: "unknown", number }, length };
  try {
    return { value: requestOf(kind, body), length };
  } catch (cause) {
    throw new OpenError(`cannot read request: its body is none of kind ${kind}`, { cause });
  }
}

/** @throws {Error} of any kind, if `body` is none. */
function requestOf(kind: KnownRequest["kind"], body: Buffer): KnownRequest {
  switch (kind) {
    case "tcp":
    case "udp":
      return { kind, host: parseHost(body.toString("latin1", 2)), port: readPort(body, 0, 1) };
    case "unix":
    case "listen-unix":
      return { kind, path: parseUnixPath(utf8.decode(body)) };
    case "listen-tcp":
      return { kind, host: hostOrNone(body.toString("latin1", 2)), port: readPort(body, 0, 0) };
    case "claim":
      if (body.length === TOKEN_LENGTH) return { kind, token: Uint8Array.from(body) };
      throw new RangeError(`token of ${body.length} bytes`);
    case "accepted": {
      const address = body.toString("latin1", 6);
      if (address !== "" && isIP(address) === 0) throw new SyntaxError("no address");
      const origin = { address, port: readPort(body, 4, 0) };
      return { kind, listener: body.readUInt32BE(0), origin };
    }
  }
}

/** Bytes of a reply. Text beyond {@linkcode MAX_BODY} bytes is cut, between characters. */
export function encodeReply(reply: Reply): Uint8Array {
  if (reply.kind === "open") return encode(0, reply.body);
  const text = new Uint8Array(MAX_BODY);
  const { written } = new TextEncoder().encodeInto(reply.text, text);
  return encode(refusals.indexOf(reply.refusal) + 1, text.subarray(0, written));
}

/**
 * Take a reply off the front of `bytes`. A refusal of a number that is not ours, from a newer peer, reads
 * as `failed`.
 *
 * The text is the peer's own: control characters in it are replaced, as it ends up on terminals.
 *
 * @returns `undefined` until all of it has come.
 * @throws {OpenError} if it is longer than allowed.
 */
export function decodeReply(bytes: Uint8Array): Decoded<Reply> | undefined {
  const head = decode(bytes, "reply");
  if (head === undefined) return undefined;
  const { number, body, length } = head;
  if (number === 0) return { value: { kind: "open", body: Uint8Array.from(body) }, length };
  const refusal = refusals[number - 1] ?? "failed";
  const text = body.toString("utf8").replaceAll(/[\p{Cc}\p{Cf}]/gu, "\ufffd");
  return { value: { kind: "refused", refusal, text }, length };
}

function encode(number: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(number), u16(body.length), body]);
}

function decode(
  bytes: Uint8Array,
  what: string,
): { number: number; body: Buffer; length: number } | undefined {
  if (bytes.length < HEAD) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.readUInt16BE(1);
  // Refuse before waiting for more: the length is the peer's claim, the memory is ours.
  if (length > MAX_BODY) {
    throw new OpenError(
      `cannot read ${what}: body of ${length} bytes, expected at most ${MAX_BODY}`,
    );
  }
  if (view.length < HEAD + length) return undefined;
  return { number: view[0]!, body: view.subarray(HEAD, HEAD + length), length: HEAD + length };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function hostOrNone(host: string): string {
  return host === "" ? "" : parseHost(host);
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

function readPort(body: Buffer, at: number, lowest: 0 | 1): number {
  const value = body.readUInt16BE(at);
  if (value < lowest) throw new RangeError("port 0, expected 1 to 65535");
  return value;
}

function port(value: number, lowest: 0 | 1): Uint8Array {
  if (Number.isInteger(value) && value >= lowest && value <= 65_535) return u16(value);
  throw new RangeError(`cannot ask for port ${value}: expected ${lowest} to 65535`);
}

function u16(value: number): Uint8Array {
  return Buffer.of(value >> 8, value & 0xff);
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
