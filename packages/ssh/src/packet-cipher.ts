/**
 * Ciphers of SSH's packets (RFC 4253 §6) that seal whole packets, and open them.
 *
 * ```text
 * packet = length (4, of what follows) || length of the padding (1) || payload || padding (4 to 255)
 * sealed = packet, the length in a form that the cipher has for it, then a tag (16)
 * ```
 *
 * @module
 */

/** The longest that is opened: RFC 4253 §6.1 asks for 35,000 bytes in all. */
export const MAX_LENGTH = 35_000;

/** Length of the length, and of a tag, in bytes. */
export const HEAD = 4;
export const TAG_LENGTH = 16;

export interface PacketSealer {
  /** What follows the length is a multiple of this, in bytes. */
  readonly block: number;
  /** Room for a packet. It is there for that packet alone, and until it is sealed. */
  room(length: number): Buffer;
  /**
   * Seal what is in the room.
   *
   * @param sequence number of the packet, counted in 32 bits.
   * @returns what goes over the wire, with memory of its own.
   */
  seal(packet: Buffer, sequence: number): Buffer;
}

export interface PacketOpener {
  readonly block: number;
  /** What the first four bytes say; not to be believed before the tag has been seen. */
  lengthOf(sealed: Buffer, sequence: number): number;
  /**
   * @param sealed all of it, with its tag.
   * @returns all but the length, with memory of its own.
   * @throws {Error} if the tag is wrong.
   */
  open(sealed: Buffer, sequence: number): Buffer;
}

const owned = new WeakSet<ArrayBufferLike>();

/** Say that nobody else has what is under these bytes. */
export function own(bytes: Buffer): Buffer {
  owned.add(bytes.buffer);
  return bytes;
}

/**
 * Give memory back, of which {@linkcode own} has been said, once it has been written. Left to the garbage collector, each
 * packet of 32 KiB costs it some 5 µs, as much as its encryption.
 */
export function free(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (owned.has(buffer) && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** The same for what a socket has read, if it is alone in its memory, as what Node reads is. */
export function freeRead(bytes: Buffer): void {
  const { buffer, length } = bytes;
  if (buffer.byteLength === length && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
