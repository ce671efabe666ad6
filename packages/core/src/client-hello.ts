/**
 * Read a TLS ClientHello before TLS does: which ALPNs are offered, and for which name.
 *
 * Layout (RFC 8446 §4.1.2, §5.1; the same bytes in TLS 1.2, RFC 5246 §7.4.1.2):
 *
 * ```text
 * record       type: u8 = 22, version: u16 = 0x03xx, length: u16 (1 to 16,384), that much of the message
 * message      type: u8 = 1, length: u24, and then
 *              version: u16, random: 32 bytes, session id: u8 + n, cipher suites: u16 + 2n,
 *              compression methods: u8 + n, extensions: u16 + n (TLS 1.2 may leave them out)
 * extension    type: u16, data: u16 + n
 * ```
 *
 * A message may be cut into records anywhere, and records into segments anywhere; a post-quantum key
 * share alone takes two segments. Names and values we do not know (GREASE, RFC 8701; Encrypted
 * ClientHello, of which this is the outer one) are passed over. What is read here only chooses a TLS
 * configuration: TLS reads the same bytes again, and judges the rest.
 *
 * Pure: no I/O, no clock, no memory but for the message itself, and linear in its size.
 *
 * @module
 */

/** Longest ClientHello we read, in bytes without its record headers. Real ones stay under 4 KiB. */
export const MAX_CLIENT_HELLO: number = 64 * 2 ** 10;

/** Most records one ClientHello may be cut into. Real ones take one, tools against censors a few. */
export const MAX_CLIENT_HELLO_RECORDS: number = 128;

/** Most bytes a ClientHello can take on the wire, and so the most a caller has to keep. */
export const MAX_CLIENT_HELLO_BYTES: number = 4 + MAX_CLIENT_HELLO + 5 * MAX_CLIENT_HELLO_RECORDS;

/** Most ALPNs one client may offer. Browsers offer two or three. */
const MAX_ALPNS = 128;

/** Most plaintext in a record, in bytes (RFC 8446 §5.1). */
const MAX_RECORD = 16_384;

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ALPN = 16;

export interface ClientHello {
  /** ALPNs offered, in the client's order, a character for each byte (latin1); empty without the extension. */
  readonly alpn: readonly string[];
  /** Host name asked for (SNI), in lower case; `undefined` without one, or when it is no host name. */
  readonly serverName: string | undefined;
}

export type ClientHelloResult =
  /** Nothing more can be said before there are `need` bytes in all. */
  | { readonly kind: "incomplete"; readonly need: number }
  | ({ readonly kind: "hello" } & ClientHello)
  /** No ClientHello can begin with these bytes, or not one that we take. */
  | { readonly kind: "malformed"; readonly reason: string };

/**
 * Read the ClientHello at the front of `bytes`, all that has come from a client so far.
 *
 * Call again when there are at least `need` bytes: a client that sends single bytes then costs no more
 * than one that sends all at once. Never throws.
 *
 * @param bytes what came so far, from the first byte on. Bytes past the ClientHello are not looked at.
 */
export function readClientHello(bytes: Uint8Array): ClientHelloResult {
  const parts: Uint8Array[] = [];
  let have = 0;
  let at = 0;
  for (let records = 0; ; records++) {
    if (records === MAX_CLIENT_HELLO_RECORDS) return malformed("too many records");
    // Refuse at the first byte that cannot be: a client of another protocol may wait for our answer.
    if (bytes.length > at && bytes[at] !== HANDSHAKE_RECORD)
      return malformed("not a handshake record");
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return malformed("not a TLS record");
    if (bytes.length < at + 5) return { kind: "incomplete", need: at + 5 };
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    if (length === 0 || length > MAX_RECORD) return malformed("record length out of bounds");
    at += 5;
    const part = bytes.subarray(at, at + length);
    parts.push(part);
    have += part.length;
    at += length;

    // Judge the message's header as soon as it is there, even while its record is not.
    const header = front(parts);
    if (header.length > 0 && header[0] !== CLIENT_HELLO) return malformed("not a ClientHello");
    const size =
      header.length === 4 ? (header[1]! << 16) | (header[2]! << 8) | header[3]! : undefined;
    if (size !== undefined && size > MAX_CLIENT_HELLO) return malformed("ClientHello too long");
    const wanted = (size === undefined ? 4 : 4 + size) - have;
    if (size !== undefined && wanted <= 0) {
      return readMessage(new Reader(join(parts, have), 4, 4 + size));
    }
    // What is missing lies in this record, or begins with the header of the next.
    if (bytes.length < at) return { kind: "incomplete", need: Math.min(at, bytes.length + wanted) };
  }
}

/** First four bytes of the message, or as many as have come. */
function front(parts: readonly Uint8Array[]): number[] {
  const header: number[] = [];
  for (const part of parts) {
    for (let i = 0; i < part.length && header.length < 4; i++) header.push(part[i]!);
    if (header.length === 4) break;
  }
  return header;
}

function readMessage(body: Reader): ClientHelloResult {
  body.skip(2 + 32);
  body.skip(body.u8());
  const suites = body.u16();
  body.skip(suites);
  const compressions = body.u8();
  body.skip(compressions);
  if (body.short) return malformed("ClientHello cut short");
  if (suites === 0 || suites % 2 !== 0) return malformed("bad list of cipher suites");
  if (compressions === 0) return malformed("no compression method");
  let alpn: readonly string[] = [];
  let serverName: string | undefined;
  if (body.left > 0) {
    if (body.u16() !== body.left || body.short) return malformed("extensions of a wrong length");
    const seen = new Set<number>();
    while (body.left > 0) {
      const type = body.u16();
      const length = body.u16();
      if (body.short || length > body.left) return malformed("extension cut short");
      if (seen.has(type)) return malformed("extension sent twice");
      seen.add(type);
      if (type === ALPN) {
        const names = readAlpn(body, length);
        if (names === undefined) return malformed("bad ALPN extension");
        alpn = names;
      } else if (type === SERVER_NAME) {
        const name = readServerName(body, length);
        if (name === undefined) return malformed("bad server name extension");
        serverName = hostName(name);
      } else {
        body.skip(length);
      }
    }
  }
  return { kind: "hello", alpn, serverName };
}

/** RFC 7301 §3.1: a list of names, each of 1 to 255 bytes. `size` is that of the extension. */
function readAlpn(data: Reader, size: number): string[] | undefined {
  const end = data.left - size;
  if (size < 2 || data.u16() !== size - 2 || size === 2) return undefined;
  const names: string[] = [];
  while (data.left > end) {
    const length = data.u8();
    if (length === 0 || data.left - length < end || names.length === MAX_ALPNS) return undefined;
    names.push(data.text(length));
  }
  return names;
}

/** RFC 6066 §3: a list with at most one name of each type, of which only `host_name` was ever defined. */
function readServerName(data: Reader, size: number): string | undefined {
  const end = data.left - size;
  if (size < 2 || data.u16() !== size - 2 || size === 2) return undefined;
  let host = "";
  while (data.left > end) {
    if (data.left - 3 < end) return undefined;
    const type = data.u8();
    const length = data.u16();
    if (data.left - length < end) return undefined;
    const name = data.text(length);
    if (type === 0) host = name;
  }
  return host;
}

/** `name` if it can be a host name in a log line and a comparison; whatever else is there is dropped. */
function hostName(name: string): string | undefined {
  return /^[a-z0-9_](?:[a-z0-9_.-]{0,252})$/i.test(name) ? name.toLowerCase() : undefined;
}

function malformed(reason: string): ClientHelloResult {
  return { kind: "malformed", reason };
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Names up to this many bytes, all that are in use, are read without making a `Buffer` for them. */
const SHORT = 64;

/** Walks over bytes; a read past the end gives zeros and leaves `short` set, to be asked once at the end. */
class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;
  short = false;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    if (!this.#has(1)) return 0;
    return this.#bytes[this.#at++]!;
  }

  u16(): number {
    if (!this.#has(2)) return 0;
    return (this.#bytes[this.#at++]! << 8) | this.#bytes[this.#at++]!;
  }

  skip(length: number): void {
    if (this.#has(length)) this.#at += length;
  }

  /** A character for each byte. */
  text(length: number): string {
    let text = "";
    if (!this.#has(length)) return text;
    const start = this.#at;
    this.#at += length;
    if (length > SHORT) {
      const { buffer, byteOffset } = this.#bytes;
      return Buffer.from(buffer, byteOffset + start, length).toString("latin1");
    }
    for (let i = start; i < this.#at; i++) text += String.fromCharCode(this.#bytes[i]!);
    return text;
  }

  #has(length: number): boolean {
    if (this.left >= length) return true;
    this.short = true;
    // Nothing that follows may be read from a place that is not its own.
    this.#at = this.#end;
    return false;
  }
}
