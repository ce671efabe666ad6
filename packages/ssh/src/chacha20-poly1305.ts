/**
 * `chacha20-poly1305@openssh.com` (draft-ietf-sshm-chacha20-poly1305): the client's default.
 *
 * Two keys: one is for lengths alone, so that a length is known before its packet is there. The tag is of all that is
 * sealed, and its key is the beginning of the first block of the packet's key stream; the packet begins with the second.
 * The nonce is the number of the packet.
 *
 * @module
 */

import { createCipheriv, timingSafeEqual } from "node:crypto";
import {
  free,
  HEAD,
  MAX_LENGTH,
  own,
  type PacketOpener,
  type PacketSealer,
  TAG_LENGTH,
} from "./packet-cipher.ts";
import { poly1305 } from "./poly1305.ts";

/** Length of both keys together, in bytes. */
export const CHACHA_KEY = 64;

/** One block of the key stream, in bytes. */
const BLOCK = 64;
/** The packet's length is before its second block, which is where the rest begins. */
const BEFORE = BLOCK - HEAD;
const ZEROS = Buffer.alloc(BLOCK);

/** Room around a packet: the key of the tag is before it. */
const AROUND = BEFORE + TAG_LENGTH;
/** For all: what is in it is sealed in the same call. */
const room = Buffer.alloc(AROUND + HEAD + MAX_LENGTH);

/** @param key of 64 bytes: that of packets, then that of lengths. */
export function chachaSealer(key: Uint8Array): PacketSealer {
  const stream = keyStream(key);
  return {
    block: 8,
    room: (length) => {
      const all = room.length < AROUND + length ? Buffer.alloc(AROUND + length) : room;
      return all.subarray(BEFORE, BEFORE + length);
    },
    seal(packet, sequence) {
      const { length } = packet;
      // The key of the tag, the packet, and room for its tag, all in one piece.
      const all = Buffer.from(packet.buffer, packet.byteOffset - BEFORE, AROUND + length);
      const bytes = own(stream.of(sequence).update(all));
      const sealed = bytes.subarray(BEFORE);
      sealed.writeInt32BE(packet.readInt32BE() ^ stream.mask(sequence));
      sealed.set(poly1305(bytes.subarray(0, 32), sealed.subarray(0, length)), length);
      bytes.fill(0, 0, BEFORE);
      return sealed;
    },
  };
}

/** @param key as with {@linkcode chachaSealer}. */
export function chachaOpener(key: Uint8Array): PacketOpener {
  const stream = keyStream(key);
  return {
    block: 8,
    lengthOf: (sealed, sequence) => (sealed.readInt32BE() ^ stream.mask(sequence)) >>> 0,
    open(sealed, sequence) {
      const cipher = stream.of(sequence);
      const end = sealed.length - TAG_LENGTH;
      const first = own(cipher.update(ZEROS));
      const tag = poly1305(first.subarray(0, 32), sealed.subarray(0, end));
      free(first);
      if (!timingSafeEqual(tag, sealed.subarray(end))) throw new Error("the tag is wrong");
      return cipher.update(sealed.subarray(HEAD, end));
    },
  };
}

function keyStream(key: Uint8Array) {
  if (key.length !== CHACHA_KEY) {
    throw new RangeError(`cannot use a key of ${key.length} bytes: want ${CHACHA_KEY}`);
  }
  const main = Buffer.from(key.subarray(0, 32));
  const lengths = wordsOf(key.subarray(32));
  // The number of the block from its low end, then that of the packet from its high end, 64 bits each.
  const nonce = Buffer.alloc(16);
  return {
    /** The stream of a packet, from its first block. */
    of(sequence: number) {
      nonce.writeUInt32BE(sequence, 12);
      return createCipheriv("chacha20", main, nonce);
    },
    /** What a packet's length is covered with. */
    mask: (sequence: number) => firstWord(lengths, sequence),
  };
}

function wordsOf(key: Uint8Array): Int32Array {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return Int32Array.from({ length: 8 }, (_, index) => view.getInt32(4 * index, true));
}

const state = new Int32Array(16);
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;

/**
 * The first four bytes of a key stream, read from their high end. In JavaScript, because a cipher of OpenSSL's for each
 * length takes five times as long.
 */
function firstWord(key: Int32Array, sequence: number): number {
  state.set(CONSTANTS);
  state.set(key, 4);
  state.fill(0, 12, 15);
  state[15] = swapped(sequence);
  for (let round = 0; round < 10; round++) {
    quarter(0, 4, 8, 12);
    quarter(1, 5, 9, 13);
    quarter(2, 6, 10, 14);
    quarter(3, 7, 11, 15);
    quarter(0, 5, 10, 15);
    quarter(1, 6, 11, 12);
    quarter(2, 7, 8, 13);
    quarter(3, 4, 9, 14);
  }
  return swapped(((state[0] as number) + CONSTANTS[0]) | 0);
}

/** RFC 8439 §2.1. */
function quarter(a: number, b: number, c: number, d: number): void {
  let [one, two, three, four] = [at(a), at(b), at(c), at(d)];
  one = (one + two) | 0;
  four = rotated(four ^ one, 16);
  three = (three + four) | 0;
  two = rotated(two ^ three, 12);
  one = (one + two) | 0;
  four = rotated(four ^ one, 8);
  three = (three + four) | 0;
  two = rotated(two ^ three, 7);
  state[a] = one;
  state[b] = two;
  state[c] = three;
  state[d] = four;
}

function at(index: number): number {
  return state[index] as number;
}

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** With its bytes the other way round. */
function swapped(word: number): number {
  return (rotated(word, 8) & 0x00ff00ff) | (rotated(word, 24) & 0xff00ff00);
}
