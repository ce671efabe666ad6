/**
 * Invitations as text: a node's key and addresses, and the secret that lets one machine join it once.
 *
 * ```text
 * invitation = "alkinvite1" base32(payload checksum)        see checked-text.ts
 * payload    = payload of a ticket (see ticket.ts), expires u32, secret 16 bytes
 * ```
 *
 * `expires` is in whole seconds since 1970 UTC, and for people: what counts is the node's own clock. Who has
 * the text has the right in it: errors here show none of it, and the secret is not among the properties that
 * a logger or `JSON.stringify` writes out.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { type CheckedFormat, decodeChecked, encodeChecked } from "./checked-text.ts";
import { type InvalidText, invalidText } from "./invalid-text.ts";
import {
  decodeTicketPayload,
  encodeTicketPayload,
  looksLikeTicket,
  MIN_PAYLOAD,
  type Ticket,
} from "./ticket.ts";

/** Bytes of a secret. */
export const SECRET_LENGTH: number = 16;

export interface InvitationTicket extends Ticket {
  /** Milliseconds since 1970 UTC, whole seconds. */
  readonly expiresAt: number;
  /** {@linkcode SECRET_LENGTH} random bytes. Not enumerable in what {@linkcode parseInvitation} gives. */
  readonly secret: Uint8Array;
}

/** Bytes after the ticket's. */
const TAIL = 4 + SECRET_LENGTH;

const FORMAT: CheckedFormat = {
  prefix: "alkinvite1",
  longest: 7_000,
  shortest: MIN_PAYLOAD + TAIL,
};

/**
 * Write an invitation.
 *
 * @throws {InvalidText} `FINGERPRINT_INVALID` or `ADDRESS_INVALID`
 * @throws {RangeError} if the secret has another length, or the time is not in 1970 to 2105.
 */
export function formatInvitation(invitation: InvitationTicket): string {
  const { expiresAt, secret } = invitation;
  if (secret.length !== SECRET_LENGTH) {
    throw new RangeError(
      `cannot write invitation: expected a secret of ${SECRET_LENGTH} bytes, got ${secret.length}`,
    );
  }
  const seconds = Math.floor(expiresAt / 1_000);
  if (!(seconds >= 0 && seconds < 2 ** 32)) {
    throw new RangeError(`cannot write invitation: it would expire at ${expiresAt}`);
  }
  const expires = Buffer.alloc(4);
  expires.writeUInt32BE(seconds);
  return encodeChecked(FORMAT, Buffer.concat([encodeTicketPayload(invitation), expires, secret]));
}

/** Whether `text` means to be an invitation, also if it was cut off. */
export function looksLikeInvitation(text: string): boolean {
  return /^\s*alkinvite[0-9]/i.test(text);
}

/**
 * Read an invitation, in either case, with or without space around it.
 *
 * @throws {InvalidText} `INVITATION_INVALID`, with a `hint`; a character that was lost or changed is
 * noticed. A plain ticket is said to be one.
 */
export function parseInvitation(text: string): InvitationTicket {
  if (looksLikeTicket(text)) {
    throw invalid("it is a plain ticket, which says where a node is and lets nobody in", PLAIN);
  }
  if (!looksLikeInvitation(text)) {
    throw invalid(`expected "${FORMAT.prefix}" at its start`);
  }
  const bytes = decodeChecked(FORMAT, text, invalid);
  const ticket = decodeTicketPayload(bytes.subarray(0, -TAIL), invalid);
  const expiresAt = bytes.readUInt32BE(bytes.length - TAIL) * 1_000;
  const secret = Uint8Array.from(bytes.subarray(-SECRET_LENGTH));
  return Object.defineProperty({ ...ticket, expiresAt, secret }, "secret", { enumerable: false });
}

const AGAIN = "copy all of it again; or have a new one made on the other machine: alknet invite";
const PLAIN =
  "to be let in, have an invitation made on that machine: alknet invite; to dial it: alknet ping TICKET";

function invalid(expected: string, hint: string = AGAIN): InvalidText & { hint: string } {
  // Nothing of it: what is wrong may be its beginning, and what comes next the secret.
  const error = invalidText("INVITATION_INVALID", "invitation", "…", expected);
  return Object.assign(error, { hint });
}
