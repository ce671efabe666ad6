/**
 * Tickets: a node's key and addresses in one line, to be pasted where a peer's name would stand.
 *
 * ```text
 * ticket   = "alknet1" base32(payload checksum)
 * payload  = kind u8 (0 ed25519, 1 SHA256), key 32 bytes,
 *            name length u8, name, address count u8, addresses
 * address  = 4, 4 bytes, port u16 | 6, 16 bytes, port u16 | 0, length u8, host name, port u16
 * checksum = first 4 bytes of SHA-256("alknet1" payload)
 * ```
 *
 * A ticket is no secret and gives no right: it says whom to expect, and where.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { decodeBase32, encodeBase32 } from "./base32.ts";
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

const PREFIX = "alknet1";

/** Most addresses in a ticket. */
export const MAX_ADDRESSES: number = 16;

/** Longest ticket that is read, in characters; the longest possible one has 6,752. */
const MAX_TICKET = 7_000;

/**
 * Write a ticket. Addresses past the bound are left out, and so is a name that could not be a peer's.
 *
 * @throws {InvalidText} `FINGERPRINT_INVALID` or `ADDRESS_INVALID`
 */
export function formatTicket({ fingerprint, addresses, name = "" }: Ticket): string {
  const { kind, bytes } = fingerprintBytes(parseFingerprint(fingerprint));
  const nameBytes = Buffer.from(isPeerName(name) ? name : "");
  const listed = addresses.slice(0, MAX_ADDRESSES).map(encodeAddress);
  const payload = Buffer.concat([
    Uint8Array.of(kind === "ed25519" ? 0 : 1),
    bytes,
    Uint8Array.of(nameBytes.length),
    nameBytes,
    Uint8Array.of(listed.length),
    ...listed,
  ]);
  return PREFIX + encodeBase32(Buffer.concat([payload, checksum(payload)]));
}

/**
 * Whether `text` means to be a ticket, rather than a name or an address: one that was cut off, or copied with
 * the dots that stand for the rest of it, does.
 */
export function looksLikeTicket(text: string): boolean {
  return /^\s*alknet[0-9]+(?:[a-z2-7]{50}|[a-z2-7]{8,}\s*(?:…|\.{2,})?\s*$)/i.test(text);
}

/**
 * Read a ticket, in either case (QR codes prefer capitals), with or without space around it.
 *
 * @throws {InvalidText} `TICKET_INVALID`; a character that was lost or changed is noticed.
 */
export function parseTicket(text: string): Ticket {
  if (text.length > MAX_TICKET) throw invalid(text, `expected at most ${MAX_TICKET} characters`);
  const line = text.trim().toLowerCase();
  if (!line.startsWith(PREFIX)) {
    const newer = /^alknet[0-9]+/.exec(line)?.[0];
    if (newer === undefined) throw invalid(text, `expected "${PREFIX}" at its start`);
    throw invalid(text, `expected "${PREFIX}", found "${newer}": made by a newer version`);
  }
  const encoded = line.slice(PREFIX.length);
  if (/(?:…|\.\.)$/.test(encoded)) throw invalid(text, "it is cut off");
  const strange = /[^a-z2-7]/u.exec(encoded)?.[0];
  if (strange !== undefined) {
    throw invalid(text, `expected base32, found ${JSON.stringify(strange)}`);
  }
  const bytes = decodeBase32(encoded);
  // Key, two counts and the checksum.
  if (bytes === undefined || bytes.length < 39) throw invalid(text, "it is cut off");
  const payload = bytes.subarray(0, -4);
  if (!Buffer.from(bytes.subarray(-4)).equals(checksum(payload))) {
    throw invalid(text, "its checksum is wrong; some of it is cut off or changed");
  }
  return decodePayload(text, payload);
}

function decodePayload(text: string, payload: Uint8Array): Ticket {
  const bytes = Buffer.from(payload);
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw invalid(text, "it ends too soon");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const byte = (): number => take(1)[0]!;

  const kind = byte();
  if (kind > 1) throw invalid(text, `expected key of kind 0 or 1, found ${kind}`);
  const fingerprint = `${kind === 0 ? "ed25519" : "SHA256"}:${take(32).toString("hex")}`;
  const name = take(byte()).toString("latin1");
  if (name !== "" && !isPeerName(name)) throw invalid(text, "expected a plain name");
  const count = byte();
  if (count > MAX_ADDRESSES) throw invalid(text, `expected at most ${MAX_ADDRESSES} addresses`);
  const addresses = Array.from({ length: count }, () => {
    const tag = byte();
    let host: string;
    if (tag === 4 || tag === 6) host = formatIp(ipFromBytes(take(tag === 4 ? 4 : 16)));
    else if (tag === 0) host = take(byte()).toString("latin1");
    else throw invalid(text, `expected address of kind 0, 4 or 6, found ${tag}`);
    const port = take(2).readUInt16BE();
    const parsed = parseHost(host);
    if (tag === 0 && (parsed?.kind !== "name" || parsed.name !== host)) {
      throw invalid(text, "expected a host name");
    }
    return formatHostPort({ host, port });
  });
  if (at !== bytes.length) throw invalid(text, `${bytes.length - at} bytes are left over`);
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

function checksum(payload: Uint8Array): Uint8Array {
  return createHash("sha256").update(PREFIX).update(payload).digest().subarray(0, 4);
}

/** Enough of it to know it again. */
const SHOWN = 20;

function invalid(text: string, expected: string): SyntaxError {
  const start = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return invalidText("TICKET_INVALID", "ticket", start, expected);
}
