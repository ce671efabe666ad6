/**
 * UDP packets of a flow, on the way between two nodes.
 *
 * ```text
 * QUIC datagram     flow: variable-length integer (RFC 9000 §16), as the reply told it; then the packet
 * on the stream     length u16, big-endian; then the packet: behind the request, and behind the reply
 * ```
 *
 * A packet goes as a datagram where the connection has them and it fits, else on the stream: all of them over
 * TCP, and those that are sent ahead of the reply. A packet may be empty. The end of the stream, either way, ends
 * the flow. Datagrams for a flow that is not known are dropped.
 *
 * Pure: no I/O.
 *
 * @module
 */

/** Longest packet, in bytes: what IPv4 leaves (RFC 768, RFC 791); IPv6 takes 20 more, which no one sends. */
export const MAX_PACKET: number = 65_507;

/** The peer broke the format of a stream of packets. There is no way back into step. */
export class PacketError extends Error {
  override readonly name = "PacketError";
  readonly code = "PROTOCOL";
}

/** Bytes in front of a packet in a datagram, by the number of its flow (0 to 2^32 - 1). */
export function encodeFlowPrefix(flow: number): Uint8Array {
  if (flow < 2 ** 6) return Buffer.of(flow);
  const bytes = Buffer.alloc(flow < 2 ** 14 ? 2 : flow < 2 ** 30 ? 4 : 8);
  if (bytes.length === 2) bytes.writeUInt16BE(flow);
  else bytes.writeUInt32BE(flow, bytes.length - 4);
  bytes[0]! |= bytes.length === 2 ? 0x40 : bytes.length === 4 ? 0x80 : 0xc0;
  return bytes;
}

/** A datagram taken apart: the packet is a view. `undefined` for what is none, which is dropped. */
export function decodeDatagram(
  datagram: Uint8Array,
): { readonly flow: number; readonly packet: Uint8Array } | undefined {
  const first = datagram[0];
  if (first === undefined) return undefined;
  const length = 1 << (first >> 6);
  if (datagram.length < length) return undefined;
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
  const packet = datagram.subarray(length);
  switch (length) {
    case 1:
      return { flow: first, packet };
    case 2:
      return { flow: view.getUint16(0) & 0x3fff, packet };
    case 4:
      return { flow: view.getUint32(0) & 0x3fff_ffff, packet };
    default:
      // No flow has a number above 32 bits.
      return (view.getUint32(0) & 0x3fff_ffff) === 0
        ? { flow: view.getUint32(4), packet }
        : undefined;
  }
}

/** What goes in front of a packet of `length` bytes on the stream. */
export function encodePacketHead(length: number): Uint8Array {
  if (length > MAX_PACKET) {
    throw new RangeError(`cannot send a packet of ${length} bytes: expected at most ${MAX_PACKET}`);
  }
  return Buffer.of(length >> 8, length & 0xff);
}

/** Takes a stream of packets apart. */
export class PacketDecoder {
  readonly #onpacket: (packet: Uint8Array) => void;
  /** What came of a packet that is not complete. */
  #parts: Uint8Array[] = [];
  #length = 0;

  /** @param onpacket gets each packet; it may be a view of what was pushed. */
  constructor(onpacket: (packet: Uint8Array) => void) {
    this.#onpacket = onpacket;
  }

  /** @throws {PacketError} if a packet is announced that is longer than any. */
  push(chunk: Uint8Array): void {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    const wanted = this.#wanted();
    if (wanted === undefined || this.#length < wanted) return;
    // A packet in many pieces is put together once, and not at each of them.
    let bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts, this.#length);
    while (bytes.length >= 2) {
      const end = 2 + lengthOf(bytes[0]!, bytes[1]!);
      if (bytes.length < end) break;
      this.#onpacket(bytes.subarray(2, end));
      bytes = bytes.subarray(end);
    }
    // A copy: what was pushed may be large, and what is kept of it small.
    this.#parts = bytes.length === 0 ? [] : [Uint8Array.from(bytes)];
    this.#length = bytes.length;
  }

  /** Bytes of the first packet and its head; `undefined` until that has come. */
  #wanted(): number | undefined {
    const [first, second] = [this.#byte(0), this.#byte(1)];
    return first === undefined || second === undefined ? undefined : 2 + lengthOf(first, second);
  }

  #byte(at: number): number | undefined {
    let left = at;
    for (const part of this.#parts) {
      if (left < part.length) return part[left];
      left -= part.length;
    }
    return undefined;
  }
}

function lengthOf(high: number, low: number): number {
  const length = (high << 8) | low;
  if (length <= MAX_PACKET) return length;
  throw new PacketError(`cannot read packet of ${length} bytes: expected at most ${MAX_PACKET}`);
}
