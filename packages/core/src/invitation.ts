/**
 * Making an invitation: what the store keeps of it, and the secret that it does not.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { hashToken } from "./api-key.ts";
import { encodeBase32 } from "./base32.ts";
import { type Clock, systemClock } from "./clock.ts";
import { SECRET_LENGTH } from "./invitation-ticket.ts";
import type { Invitation } from "./store-backend.ts";

/** How long an invitation is good for, in milliseconds, unless it is said otherwise. */
export const INVITATION_LIFETIME: number = 600_000;

/** The longest that may be said, in milliseconds: 30 days. */
export const MAX_INVITATION_LIFETIME: number = 30 * 86_400_000;

export interface InvitationOptions {
  /** What the peer is to be called. @default as it likes, if the name is free */
  readonly peerId?: string | undefined;
  /** Scopes and roles, as in a peer's. @default none: it is known, and may do nothing */
  readonly scopes?: readonly string[] | undefined;
  /** The peer exists, and gets one key more. @default false */
  readonly addsKey?: boolean | undefined;
  /** In milliseconds. @default {@linkcode INVITATION_LIFETIME} */
  readonly lifetime?: number | undefined;
  /** Who makes it: `owner`, or a `peer_id`. @default "owner" */
  readonly createdBy?: string | undefined;
  readonly clock?: Clock | undefined;
}

/** An invitation as the store takes it, and its secret: for the ticket, and to be forgotten then. */
export interface NewInvitation {
  readonly invitation: Invitation;
  /** 128 random bits. */
  readonly secret: Uint8Array;
}

/**
 * Make an invitation. It counts once `store.addInvitation()` has taken it.
 *
 * @throws {RangeError} if it would live for less than a second, or more than 30 days.
 */
export function createInvitation(options: InvitationOptions = {}): NewInvitation {
  const { peerId, scopes = [], addsKey = false, createdBy = "owner" } = options;
  const { lifetime = INVITATION_LIFETIME, clock = systemClock } = options;
  if (!(lifetime >= 1_000 && lifetime <= MAX_INVITATION_LIFETIME)) {
    throw new RangeError(
      `cannot make an invitation for ${lifetime} ms: expected a second to 30 days`,
    );
  }
  const secret = Uint8Array.from(randomBytes(SECRET_LENGTH));
  const createdAt = clock.wallTime();
  const invitation: Invitation = {
    id: encodeBase32(randomBytes(5)),
    secretHash: hashToken(secret),
    peerId,
    scopes,
    addsKey,
    createdAt,
    // Whole seconds, as in the ticket: both say the same.
    expiresAt: Math.floor((createdAt + lifetime) / 1_000) * 1_000,
    createdBy,
    usedAt: undefined,
    usedBy: undefined,
  };
  return { invitation, secret };
}
