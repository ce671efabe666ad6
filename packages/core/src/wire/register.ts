/**
 * The two messages of `alknet/register`: one that asks to be let in, and its answer.
 *
 * ```text
 * request   kind u8     length u16    body, `length` bytes, at most 256
 *   kind 1, join:   secret 16 bytes, name (the rest: none, or what the joiner would like to be called)
 *   further kinds are kept; a node that does not know one can skip its body, and answers `unsupported`
 *
 * reply     status u8   length u16    body, `length` bytes, at most 16,384
 *   status 0, joined, and 1, joined before:
 *       peer length u8, what the joiner is called over there; node length u8, what the node calls itself
 *       (none: 0); scope count u16, of all it may do; as many of them as fit, each length u16, text UTF-8
 *   any other, see `Refusal`:   body is text for people, UTF-8
 * ```
 *
 * Numbers are big-endian. Names are 1 to 64 letters, digits, `.`, `_`, `-`, a letter or digit first. There is
 * no version: a change that breaks this takes a new ALPN.
 *
 * @module
 */

/** Bytes of a secret. */
export const SECRET_LENGTH: number = 16;

/** Longest body of a request, in bytes. */
export const MAX_REQUEST: number = 256;

/** Longest body of a reply, in bytes. */
export const MAX_REPLY: number = 16_384;

/** Bytes before the body. */
const HEAD = 3;

const KIND_JOIN = 1;

/** Let me in. */
export interface JoinRequest {
  readonly kind: "join";
  /** {@linkcode SECRET_LENGTH} bytes. */
  readonly secret: Uint8Array;
  /** What the joiner would like to be called, where the invitation leaves it open. */
  readonly name: string | undefined;
}

/** A kind this side does not know; its body was well-formed enough to skip. */
export interface UnknownRequest {
  readonly kind: "unknown";
  readonly number: number;
}

/** Why nobody was let in. The order is the number on the wire, from 2. */
const refusals = [
  /** Nobody made such an invitation, or it was taken back. */
  "invalid",
  "expired",
  /** By another key. */
  "used",
  /** The name that it was to have is another's. */
  "name-taken",
  /** The key is that of a peer already. */
  "key-known",
  /** The peer that was to get one key more is there no more, or is disabled. */
  "peer-gone",
  /** A limit of the node. Later may be better. */
  "limit",
  /** The node does not know this kind of request. */
  "unsupported",
  /** A fault of the node. */
  "failed",
] as const;

export type Refusal = (typeof refusals)[number];

export interface JoinedReply {
  readonly kind: "joined";
  /** By the same key and invitation, before: its answer may have been lost. */
  readonly before: boolean;
  /** What the joiner is called over there. */
  readonly peer: string;
  /** What the node calls itself. */
  readonly node: string | undefined;
  /** What the joiner may do: as many as fit. */
  readonly scopes: readonly string[];
  /** How many there are. */
  readonly scopeCount: number;
}

export type Reply =
  | JoinedReply
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly text: string };

/** The other side broke the format. There is no way back into step: end the connection. */
export class RegisterError extends Error {
  override readonly name = "RegisterError";
  readonly code = "PROTOCOL";
}

/** A decoded message, and how many bytes it took off the front. */
export interface Decoded<T> {
  readonly value: T;
  readonly length: number;
}

/** @throws {RangeError} if the secret has another length. @throws {SyntaxError} if the name is none. */
export function encodeJoinRequest({ secret, name = "" }: Omit<JoinRequest, "kind">): Uint8Array {
  if (secret.length !== SECRET_LENGTH) {
    throw new RangeError(
      `cannot write request: expected a secret of ${SECRET_LENGTH} bytes, got ${secret.length}`,
    );
  }
  return encode(KIND_JOIN, Buffer.concat([secret, nameBytes(name)]));
}

/**
 * Take a request off the front of `bytes`.
 *
 * @returns `undefined` until all of it has come.
 * @throws {RegisterError} if it is longer than allowed, or its body is not what its kind says.
 */
export function decodeRequest(
  bytes: Uint8Array,
): Decoded<JoinRequest | UnknownRequest> | undefined {
  const head = decode(bytes, "request", MAX_REQUEST);
  if (head === undefined) return undefined;
  const { number, body, length } = head;
  if (number !== KIND_JOIN) return { value: { kind: "unknown", number }, length };
  const reader = new Reader(body, "request");
  const secret = Uint8Array.from(reader.take(SECRET_LENGTH));
  const name = reader.name(reader.left);
  return { value: { kind: "join", secret, name }, length };
}

/**
 * Bytes of a reply. Scopes that do not fit are left out, and text is cut between characters.
 *
 * @throws {SyntaxError} if a name is none.
 */
export function encodeReply(reply: Reply): Uint8Array {
  if (reply.kind === "refused") {
    const text = new Uint8Array(MAX_REPLY);
    const { written } = new TextEncoder().encodeInto(reply.text, text);
    return encode(refusals.indexOf(reply.refusal) + 2, text.subarray(0, written));
  }
  const { before, peer, node = "", scopes, scopeCount } = reply;
  const names = [peer, node].flatMap((name) => [Buffer.of(name.length), nameBytes(name)]);
  const parts = [...names, u16(Math.min(scopeCount, 0xffff))];
  let left = MAX_REPLY - parts.reduce((sum, { length }) => sum + length, 0);
  for (const scope of scopes) {
    const text = Buffer.from(scope);
    left -= 2 + text.length;
    if (left < 0) break;
    parts.push(u16(text.length), text);
  }
  return encode(before ? 1 : 0, Buffer.concat(parts));
}

/**
 * Take a reply off the front of `bytes`. A refusal of a number that is not ours, from a newer node, reads as
 * `failed`.
 *
 * Scopes and text are the node's own: control characters in them are replaced, as they end up on terminals.
 *
 * @returns `undefined` until all of it has come.
 * @throws {RegisterError} if it is longer than allowed, or its body is not what its status says.
 */
export function decodeReply(bytes: Uint8Array): Decoded<Reply> | undefined {
  const head = decode(bytes, "reply", MAX_REPLY);
  if (head === undefined) return undefined;
  const { number, body, length } = head;
  if (number > 1) {
    const refusal = refusals[number - 2] ?? "failed";
    return { value: { kind: "refused", refusal, text: printable(body) }, length };
  }
  const reader = new Reader(body, "reply");
  const peer = reader.name(reader.u8());
  if (peer === undefined) throw new RegisterError("cannot read reply: it names no peer");
  const node = reader.name(reader.u8());
  const scopeCount = reader.u16();
  const scopes: string[] = [];
  while (reader.left > 0) scopes.push(printable(reader.take(reader.u16())));
  if (scopes.length > scopeCount) {
    throw new RegisterError(
      `cannot read reply: ${scopes.length} scopes, expected at most the ${scopeCount} it announces`,
    );
  }
  const before = number === 1;
  return { value: { kind: "joined", before, peer, node, scopes, scopeCount }, length };
}

class Reader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Buffer {
    if (length > this.left) {
      const what = `cannot read ${this.#what}`;
      throw new RegisterError(`${what}: expected ${length} bytes more, found ${this.left}`);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  u8(): number {
    return this.take(1)[0]!;
  }

  u16(): number {
    return this.take(2).readUInt16BE();
  }

  /** `undefined`: an empty one. */
  name(length: number): string | undefined {
    if (length === 0) return undefined;
    const name = this.take(length).toString("latin1");
    if (isName(name)) return name;
    throw new RegisterError(`cannot read ${this.#what}: expected a plain name`);
  }
}

function encode(number: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(number), u16(body.length), body]);
}

function decode(
  bytes: Uint8Array,
  what: string,
  longest: number,
): { number: number; body: Buffer; length: number } | undefined {
  if (bytes.length < HEAD) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.readUInt16BE(1);
  // Refuse before waiting for more: the length is the other side's claim, the memory is ours.
  if (length > longest) {
    throw new RegisterError(
      `cannot read ${what}: body of ${length} bytes, expected at most ${longest}`,
    );
  }
  if (view.length < HEAD + length) return undefined;
  return { number: view[0]!, body: view.subarray(HEAD, HEAD + length), length: HEAD + length };
}

function nameBytes(name: string): Uint8Array {
  if (name === "" || isName(name)) return Buffer.from(name, "latin1");
  throw new SyntaxError(`cannot write name ${JSON.stringify(name.slice(0, 100))}: no plain name`);
}

function isName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

function printable(bytes: Buffer): string {
  return bytes.toString("utf8").replaceAll(/[\p{Cc}\p{Cf}]/gu, "\ufffd");
}

function u16(value: number): Uint8Array {
  return Buffer.of(value >> 8, value & 0xff);
}
