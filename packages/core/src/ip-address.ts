/**
 * IP addresses and blocks of them, as numbers.
 *
 * There is one value per address: IPv4-mapped IPv6 (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2) *is* the
 * IPv4 address, because the kernel connects to the same place; a zone (`%eth0`) is left out.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { isIPv4, isIPv6 } from "node:net";
import { invalidText } from "./invalid-text.ts";

/** Four 32-bit words (signed, as JavaScript's bit operators make them), most significant first. */
type Words = readonly [number, number, number, number];

export interface IpAddress {
  readonly family: 4 | 6;
  /** IPv4 uses the first word only; the others are 0. */
  readonly words: Words;
}

/** All addresses of one family whose first `prefix` bits are those of `words`. */
export interface IpBlock extends IpAddress {
  /** 0 to 32 (IPv4) or 128 (IPv6). */
  readonly prefix: number;
}

/**
 * Read an address as the kernel and `node:net` write it; a zone is dropped.
 *
 * Strict about IPv4: four decimal numbers, no leading zero, so that nothing reads as octal elsewhere.
 *
 * @returns `undefined` if `text` is anything else, a host name for one.
 */
export function parseIp(text: string): IpAddress | undefined {
  // Longest: eight groups with an IPv4 tail and a zone of an interface's name.
  if (text.length > 64) return undefined;
  if (isIPv4(text)) return { family: 4, words: [ipv4Word(text), 0, 0, 0] };
  if (!isIPv6(text)) return undefined;
  const zone = text.indexOf("%");
  return addressOf(ipv6Words(zone < 0 ? text : text.slice(0, zone)));
}

/**
 * Read a block: `10.0.0.0/8`, `fd00::/8`, or a single address.
 *
 * @throws {InvalidText} `BLOCK_INVALID`, also if bits after the prefix are set: `10.0.0.1/8` may
 *   mean one address or sixteen million.
 */
export function parseBlock(text: string): IpBlock {
  const slash = text.indexOf("/");
  const address = slash < 0 ? text : text.slice(0, slash);
  const width = isIPv4(address) ? 32 : isIPv6(address) && !address.includes("%") ? 128 : 0;
  if (width === 0 || text.length > 64) {
    throw invalid(text, `expected an IP address, or one and "/" and a prefix length`);
  }
  const length = slash < 0 ? String(width) : text.slice(slash + 1);
  const prefix = Number(length);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(length) || prefix > width) {
    throw invalid(text, `expected a prefix length of 0 to ${width}`);
  }
  const words: Words = width === 32 ? [ipv4Word(address), 0, 0, 0] : ipv6Words(address);
  const base = keep(words, prefix);
  if (base.some((word, index) => word !== words[index])) {
    const start = formatIp({ family: width === 32 ? 4 : 6, words: base });
    throw invalid(text, `bits after the prefix are set: write ${start}/${prefix}`);
  }
  return width === 32 ? { family: 4, words, prefix } : unmap(words, prefix);
}

/** Whether `block` holds `address`. Families never mix: `::/0` holds no IPv4 address. */
export function blockContains(block: IpBlock, address: IpAddress): boolean {
  if (block.family !== address.family) return false;
  const a = block.words;
  const b = address.words;
  let bits = block.prefix;
  for (let index = 0; bits > 0; index++, bits -= 32) {
    // Unsigned shift of a whole word would be a shift by 0: hence 32 apart.
    const mask = bits >= 32 ? -1 : -1 << (32 - bits);
    if (((a[index]! ^ b[index]!) & mask) !== 0) return false;
  }
  return true;
}

/** Whether all of `inner` lies within `outer`. */
export function blockWithin(inner: IpBlock, outer: IpBlock): boolean {
  return inner.prefix >= outer.prefix && blockContains(outer, inner);
}

/** The text of an address: dotted IPv4, or IPv6 as in RFC 5952 (lower case, longest run of zeros cut). */
export function formatIp(address: IpAddress): string {
  if (address.family === 4) return formatIpv4(address.words[0]);
  const groups = address.words.flatMap((word) => [(word >>> 16) & 0xffff, word & 0xffff]);
  let start = -1;
  let length = 1; // RFC 5952 §4.2.2: a single zero group is not shortened.
  for (let index = 0; index < 8; index++) {
    let end = index;
    while (end < 8 && groups[end] === 0) end++;
    if (end - index > length) [start, length] = [index, end - index];
    index = Math.max(index, end);
  }
  const hex = (from: number, to?: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return start < 0 ? hex(0) : `${hex(0, start)}::${hex(start + length)}`;
}

/** Read 4 or 16 bytes, network byte order. @throws {RangeError} for any other length. */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length === 4) return { family: 4, words: [view.getInt32(0), 0, 0, 0] };
  if (bytes.length !== 16) {
    throw new RangeError(`cannot read IP address of ${bytes.length} bytes: expected 4 or 16`);
  }
  return addressOf([view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)]);
}

/** The 4 or 16 bytes of an address, network byte order. */
export function ipToBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(address.family === 4 ? 4 : 16);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index * 4 < bytes.length; index++) {
    view.setInt32(index * 4, address.words[index]!);
  }
  return bytes;
}

function ipv4Word(text: string): number {
  return text.split(".").reduce((word, part) => (word << 8) | Number(part), 0);
}

function formatIpv4(word: number): string {
  return [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255].join(".");
}

/** `text` has passed `isIPv6`: at most one `::`, groups of one to four digits, perhaps an IPv4 tail. */
function ipv6Words(text: string): Words {
  const halves = text.split("::").map((half) => (half === "" ? [] : half.split(":")).flatMap(pair));
  const [head = [], tail] = halves;
  const zeros = tail === undefined ? 0 : 8 - head.length - tail.length;
  const groups = [...head, ...Array.from({ length: zeros }, () => 0), ...(tail ?? [])];
  const word = (at: number): number => (groups[at]! << 16) | groups[at + 1]!;
  return [word(0), word(2), word(4), word(6)];
}

/** One group, or two for an IPv4 tail. */
function pair(group: string): number[] {
  if (!group.includes(".")) return [Number.parseInt(group, 16)];
  const word = ipv4Word(group);
  return [word >>> 16, word & 0xffff];
}

function addressOf(words: Words): IpAddress {
  const { family, words: unmapped } = unmap(words, 128);
  return { family, words: unmapped };
}

/** A block of IPv6, or of IPv4 if it lies within ::ffff:0:0/96. */
function unmap(words: Words, prefix: number): IpBlock {
  const mapped = prefix >= 96 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
  if (!mapped) return { family: 6, words, prefix };
  return { family: 4, words: [words[3], 0, 0, 0], prefix: prefix - 96 };
}

/** `words` with all but the first `prefix` bits cleared. */
function keep(words: Words, prefix: number): Words {
  const word = (index: number): number => {
    const bits = prefix - index * 32;
    if (bits <= 0) return 0;
    return bits >= 32 ? words[index]! : words[index]! & (-1 << (32 - bits));
  };
  return [word(0), word(1), word(2), word(3)];
}

function invalid(text: string, expected: string): SyntaxError {
  return invalidText("BLOCK_INVALID", "address block", text, expected);
}
