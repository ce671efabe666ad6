/**
 * Initial packets of QUIC version 1, written and read by hand: their keys follow from the connection id that the
 * client chose (RFC 9001 §5.2), so that anybody can write valid ones in anybody's name.
 *
 * @module
 */

import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";

/** RFC 9001 §5.2 */
const INITIAL_SALT = Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex");
const TAG = 16;

/** Least length of a datagram with an Initial packet of a client (RFC 9000 §14.1). */
export const MIN_DATAGRAM = 1_200;

export interface InitialPacket {
  /** Connection id that the client chose for the server; the keys follow from it. */
  readonly destination: Buffer;
  /** The client's own. */
  readonly source: Buffer;
  readonly number: number;
  /** Frames; PADDING is added for the datagram to be long enough. */
  readonly payload: Buffer;
}

/** Seal one as a client does: a datagram of at least 1,200 bytes. */
export function sealInitial({ destination, source, number, payload }: InitialPacket): Buffer {
  const head = Buffer.concat([
    // Long header, Initial, a packet number of four bytes (RFC 9000 §17.2.2).
    Buffer.from([0xc3, 0, 0, 0, 1, destination.length]),
    destination,
    Buffer.from([source.length]),
    source,
    // No token.
    Buffer.from([0]),
  ]);
  const padded = Buffer.concat(
    [payload],
    Math.max(payload.length, MIN_DATAGRAM - head.length - 2 - 4 - TAG),
  );
  const numbered = Buffer.alloc(4);
  numbered.writeUInt32BE(number);
  const header = Buffer.concat([head, varint(4 + padded.length + TAG, 2), numbered]);
  const { key, iv, mask } = keysOf(destination, "client in");
  const seal = createCipheriv("aes-128-gcm", key, nonceOf(iv, number)).setAAD(header);
  const body = Buffer.concat([seal.update(padded), seal.final(), seal.getAuthTag()]);
  const packet = Buffer.concat([header, body]);
  protect(packet, header.length - 4, 4, mask(body.subarray(0, 16)));
  return packet;
}

/** Where a datagram's first packet, an Initial of a client, comes from, and what is in it. */
export function openClientInitial(datagram: Buffer): InitialPacket {
  const { destination, source } = idsOf(datagram, 0);
  const [packet] = openInitials(datagram, destination, "client in");
  if (packet === undefined) throw new Error("expected a datagram that begins with an Initial");
  return { destination, source, ...packet };
}

/**
 * The payloads of the Initial packets in what a server answers.
 *
 * @param destination as the client chose it at first.
 */
export function openServerInitials(datagram: Buffer, destination: Buffer): Buffer[] {
  return openInitials(datagram, destination, "server in").map(({ payload }) => payload);
}

/** Bytes `data` of the handshake, from `offset` on; `length` may lie. */
export function cryptoFrame(offset: number, data: Buffer, length: number = data.length): Buffer {
  return Buffer.concat([Buffer.from([6]), varint(offset), varint(length), data]);
}

/** What an Initial packet can carry that a test asks for. */
export interface InitialFrames {
  readonly crypto: readonly { readonly offset: number; readonly data: Buffer }[];
  /** Error code of a CONNECTION_CLOSE (RFC 9000 §20.1). */
  readonly close: number | undefined;
}

/** @throws {Error} at a frame that has no place in an Initial packet. */
export function readFrames(payload: Buffer): InitialFrames {
  const crypto: { offset: number; data: Buffer }[] = [];
  let close: number | undefined;
  let at = 0;
  const read = (): number => {
    const [value, next] = readVarint(payload, at);
    at = next;
    return value;
  };
  while (at < payload.length) {
    const type = read();
    if (type === 6) {
      const offset = read();
      const length = read();
      crypto.push({ offset, data: payload.subarray(at, at + length) });
      at += length;
    } else if (type === 2 || type === 3) {
      read();
      read();
      const ranges = read();
      for (let field = 0; field < 1 + 2 * ranges + (type === 3 ? 3 : 0); field++) read();
    } else if (type === 0x1c) {
      close = read();
      read();
      const reason = read();
      at += reason;
    } else if (type > 1) {
      throw new Error(`frame ${type} in an Initial packet`);
    }
  }
  return { crypto, close };
}

/** A variable-length integer (RFC 9000 §16), of `size` bytes if that is given. */
export function varint(value: number, size?: 1 | 2 | 4): Buffer {
  const bytes = size ?? (value < 2 ** 6 ? 1 : value < 2 ** 14 ? 2 : 4);
  const encoded = Buffer.alloc(bytes);
  encoded.writeUIntBE(value, 0, bytes);
  encoded[0]! |= { 1: 0, 2: 0x40, 4: 0x80 }[bytes];
  return encoded;
}

function readVarint(bytes: Buffer, at: number): [value: number, next: number] {
  const length = 1 << (bytes.readUInt8(at) >> 6);
  const masked = Buffer.from(bytes.subarray(at, at + length));
  masked[0]! &= 0x3f;
  // Of the eight-byte ones, none is above 2^48 here.
  return [masked.readUIntBE(Math.max(0, length - 6), Math.min(length, 6)), at + length];
}

function openInitials(
  datagram: Buffer,
  destination: Buffer,
  label: "client in" | "server in",
): { number: number; payload: Buffer }[] {
  const { key, iv, mask } = keysOf(destination, label);
  const packets: { number: number; payload: Buffer }[] = [];
  for (let start = 0; start < datagram.length && (datagram[start]! & 0x80) !== 0;) {
    const isInitial = (datagram[start]! & 0x30) === 0;
    let { at } = idsOf(datagram, start);
    if (isInitial) {
      const [token, after] = readVarint(datagram, at);
      at = after + token;
    }
    const [length, numberAt] = readVarint(datagram, at);
    const end = numberAt + length;
    if (isInitial) {
      const packet = Buffer.from(datagram.subarray(start, end));
      const offset = numberAt - start;
      const masking = mask(packet.subarray(offset + 4, offset + 4 + 16));
      packet[0]! ^= masking[0]! & 0x0f;
      const size = (packet[0]! & 3) + 1;
      for (let i = 0; i < size; i++) packet[offset + i]! ^= masking[1 + i]!;
      const number = packet.readUIntBE(offset, size);
      const body = offset + size;
      const open = createDecipheriv("aes-128-gcm", key, nonceOf(iv, number));
      open.setAAD(packet.subarray(0, body)).setAuthTag(packet.subarray(-TAG));
      const payload = Buffer.concat([open.update(packet.subarray(body, -TAG)), open.final()]);
      packets.push({ number, payload });
    }
    start = end;
  }
  return packets;
}

function idsOf(
  datagram: Buffer,
  start: number,
): { destination: Buffer; source: Buffer; at: number } {
  let at = start + 5;
  const destination = datagram.subarray(at + 1, at + 1 + datagram.readUInt8(at));
  at += 1 + destination.length;
  const source = datagram.subarray(at + 1, at + 1 + datagram.readUInt8(at));
  return { destination, source, at: at + 1 + source.length };
}

interface Keys {
  readonly key: Buffer;
  readonly iv: Buffer;
  /** Header protection (RFC 9001 §5.4.3) of a sample of 16 bytes. */
  readonly mask: (sample: Buffer) => Buffer;
}

function keysOf(destination: Buffer, label: "client in" | "server in"): Keys {
  const secret = expand(hmac(INITIAL_SALT, destination), label, 32);
  const header = expand(secret, "quic hp", 16);
  return {
    key: expand(secret, "quic key", 16),
    iv: expand(secret, "quic iv", 12),
    mask: (sample) => createCipheriv("aes-128-ecb", header, null).update(sample),
  };
}

function protect(packet: Buffer, at: number, size: number, mask: Buffer): void {
  packet[0]! ^= mask[0]! & 0x0f;
  for (let i = 0; i < size; i++) packet[at + i]! ^= mask[1 + i]!;
}

function nonceOf(iv: Buffer, number: number): Buffer {
  const nonce = Buffer.from(iv);
  nonce.writeInt32BE(nonce.readInt32BE(8) ^ number, 8);
  return nonce;
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

/** HKDF-Expand-Label (RFC 8446 §7.1), of at most one block. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const head = Buffer.from([0, length, name.length]);
  return hmac(secret, Buffer.concat([head, name, Buffer.from([0, 1])])).subarray(0, length);
}
