/**
 * Tickets: a node's key and addresses in one line, to be pasted where a peer's name would stand.
 *
 * ```text
 * ticket   = "alknet1" base32(payload checksum)        see checked-text.ts
 * payload  = kind u8 (0 ed25519, 1 SHA256), key 32 bytes,
 *            name length u8, name, address count u8, addresses
 * address  = 4, 4 bytes, port u16 | 6, 16 bytes, port u16 | 0, length u8, host name, port u16
 * ```
 *
 * A ticket is no secret and gives no right: it says whom to expect, and where. An invitation does; see
 * `invitation-ticket.ts`.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { type CheckedFormat, decodeChecked, encodeChecked } from "./checked-text.ts";
import { fingerprintBytes, parseFingerprint } from "./fingerprint.ts";
import { formatHostPort, parseHost, parseHostPort } from "./host.ts";
import { invalidText } from "./invalid-text.ts";
import { formatIp, ipFromBytes, ipToBytes } from "./ip-address.ts";
import { isPeerName } from "./peers.ts";

export interface Ticket {
  readonly fingerprint: string;
  /** `host:port`, in the order in which they are worth trying; at most {@linkcode MAX_ADDRESSES}. */
  readonly addresses: readonly string[];
  /** What the node calls itself: a proposal, to be believed by nobody. */
  readonly name?: string | undefined;
}

/** Most addresses in a ticket. */
export const MAX_ADDRESSES: number = 16;

/** Bytes of the shortest payload: the key and two counts. */
export const MIN_PAYLOAD: number = 35;

/** The longest possible ticket has 6,752 characters. */
const FORMAT: CheckedFormat = { prefix: "alknet1", longest: 7_000, shortest: MIN_PAYLOAD };

/**
 * Write a ticket. Addresses past the bound are left out, and so is a name that could not be a peer's.
 *
 * @throws {InvalidText} `FINGERPRINT_INVALID` or `ADDRESS_INVALID`
 */
export function formatTicket(ticket: Ticket): string {
  return encodeChecked(FORMAT, encodeTicketPayload(ticket));
}

/**
 * Whether `text` means to be a ticket, rather than a name or an address: one that was cut off, or copied with
 * the dots that stand for the rest of it, does.
 */
export function looksLikeTicket(text: string): boolean {
  return /^\s*alknet[0-9]+(?:[a-z2-7]{50}|[a-z2-7]{8,}\s*(?:…|\.{2,})?\s*$)/i.test(text);
}

/**
 * Read a ticket, in either case, with or without space around it.
 *
 * @throws {InvalidText} `TICKET_INVALID`; a character that was lost or changed is noticed.
 */
export function parseTicket(text: string): Ticket {
  const fail = (expected: string): Error => invalid(text, expected);
  return decodeTicketPayload(decodeChecked(FORMAT, text, fail), fail);
}

/** The bytes in a ticket. @throws as {@linkcode formatTicket} */
export function encodeTicketPayload({ fingerprint, addresses, name = "" }: Ticket): Buffer {
  const { kind, bytes } = fingerprintBytes(parseFingerprint(fingerprint));
  const nameBytes = Buffer.from(isPeerName(name) ? name : "");
  const listed = addresses.slice(0, MAX_ADDRESSES).map(encodeAddress);
  return Buffer.concat([
    Uint8Array.of(kind === "ed25519" ? 0 : 1),
    bytes,
    Uint8Array.of(nameBytes.length),
    nameBytes,
    Uint8Array.of(listed.length),
    ...listed,
  ]);
}

/** Read all of `bytes` as the payload of a ticket. @throws what `fail` makes of what was expected. */
export function decodeTicketPayload(bytes: Buffer, fail: (expected: string) => Error): Ticket {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw fail("it ends too soon");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const byte = (): number => take(1)[0]!;

  const kind = byte();
  if (kind > 1) throw fail(`expected key of kind 0 or 1, found ${kind}`);
  const fingerprint = `${kind === 0 ? "ed25519" : "SHA256"}:${take(32).toString("hex")}`;
  const name = take(byte()).toString("latin1");
  if (name !== "" && !isPeerName(name)) throw fail("expected a plain name");
  const count = byte();
  if (count > MAX_ADDRESSES) throw fail(`expected at most ${MAX_ADDRESSES} addresses`);
  const addresses = Array.from({ length: count }, () => {
    const tag = byte();
    let host: string;
    if (tag === 4 || tag === 6) host = formatIp(ipFromBytes(take(tag === 4 ? 4 : 16)));
    else if (tag === 0) host = take(byte()).toString("latin1");
    else throw fail(`expected address of kind 0, 4 or 6, found ${tag}`);
    const port = take(2).readUInt16BE();
    const parsed = parseHost(host);
    if (tag === 0 && (parsed?.kind !== "name" || parsed.name !== host)) {
      throw fail("expected a host name");
    }
    return formatHostPort({ host, port });
  });
  if (at !== bytes.length) throw fail(`${bytes.length - at} bytes are left over`);
  return { fingerprint, addresses, ...(name === "" ? {} : { name }) };
}

function encodeAddress(text: string): Uint8Array {
  const { host: hostText, port } = parseHostPort(text);
  const host = parseHost(hostText)!;
  const portBytes = Uint8Array.of(port >>> 8, port & 255);
  if (host.kind === "name") {
    const name = Buffer.from(host.name);
    return Buffer.concat([Uint8Array.of(0, name.length), name, portBytes]);
  }
  return Buffer.concat([Uint8Array.of(host.address.family), ipToBytes(host.address), portBytes]);
}

/** Enough of it to know it again. */
const SHOWN = 20;

function invalid(text: string, expected: string): SyntaxError {
  const start = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return invalidText("TICKET_INVALID", "ticket", start, expected);
}
