/**
 * The head of every stream of `alknet/tunnel`: what the client asks for, and the answer.
 *
 * ```text
 * request   kind u8    length u16    body, `length` bytes, at most 1,024
 *   kind 1, a TCP connection:   port u16 (1 to 65,535), host (the rest: 1 to 253 bytes, see host.ts)
 *   kinds 2 to 6 are kept for UDP, Unix sockets, TCP and Unix listeners, and claiming what one took;
 *   a server that does not know a kind can skip its body, and answers `unsupported`
 *
 * reply     status u8  length u16    body, `length` bytes, at most 1,024
 *   status 0, open:             body kept for kinds that tell something; skipped by who does not know it
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

import { parseHost } from "./host.ts";

/** Longest body of a request or a reply, in bytes. */
export const MAX_BODY: number = 1_024;

/** Bytes before the body. */
const HEAD = 3;

const KIND_TCP = 1;

/** Open a TCP connection on the far side. */
export interface TcpRequest {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
}

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
  | { readonly kind: "open" }
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

/**
 * Bytes of a request for `host:port`.
 *
 * @throws {SyntaxError} if the host is none (see `parseHost`).
 * @throws {RangeError} if the port is not 1 to 65,535.
 */
export function encodeTcpRequest(host: string, port: number): Uint8Array {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new RangeError(`cannot ask for port ${port}: expected 1 to 65535`);
  }
  return encode(KIND_TCP, Buffer.concat([u16(port), Buffer.from(parseHost(host), "latin1")]));
}

/**
 * Take a request off the front of `bytes`.
 *
 * @returns `undefined` until all of it has come.
 * @throws {OpenError} if it is longer than allowed, or its body is not what its kind says.
 */
export function decodeRequest(bytes: Uint8Array): Decoded<TcpRequest | UnknownRequest> | undefined {
  const head = decode(bytes, "request");
  if (head === undefined) return undefined;
  const { number, body, length } = head;
  if (number !== KIND_TCP) return { value: { kind: "unknown", number }, length };
  if (body.length < 3) {
    throw new OpenError(`cannot read request: body of ${body.length} bytes, expected at least 3`);
  }
  const port = body.readUInt16BE(0);
  if (port === 0) throw new OpenError("cannot read request: port 0, expected 1 to 65535");
  try {
    return { value: { kind: "tcp", host: parseHost(body.toString("latin1", 2)), port }, length };
  } catch (cause) {
    throw new OpenError("cannot read request: its host is neither a name nor an address", {
      cause,
    });
  }
}

/** Bytes of a reply. Text beyond {@linkcode MAX_BODY} bytes is cut, between characters. */
export function encodeReply(reply: Reply): Uint8Array {
  if (reply.kind === "open") return encode(0, Buffer.alloc(0));
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
  if (number === 0) return { value: { kind: "open" }, length };
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

function u16(value: number): Uint8Array {
  return Buffer.of(value >> 8, value & 0xff);
}
