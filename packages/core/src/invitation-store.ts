/**
 * Invitations of a store: leave to become a peer, for one who has the secret.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { mayBePeerId, parsePeer, type PeerEntry } from "./peers.ts";
import type { Invitation, StoreBackend, StoreTransaction } from "./store-backend.ts";
import type { ChangeOptions, StoreCommit, StoreNote } from "./store-change.ts";
import { StoreError } from "./store-error.ts";
import { checkInvitation, checkInvited, notFound } from "./store-rules.ts";

/** What came of an invitation. */
export type Redeemed =
  | { readonly outcome: "joined"; readonly peer: PeerEntry; readonly change: number }
  /** By the same key, before: its answer may have been lost. */
  | { readonly outcome: "joined before"; readonly peer: PeerEntry }
  | { readonly outcome: "unknown" | "expired" | "used" }
  /**
   * The name that it was to have is another's, or the key is; or the peer that was to get one key more is
   * there no more, or is disabled; or the key is that of a disabled peer. The invitation is as good as before.
   */
  | { readonly outcome: "name taken" | "key known" | "peer gone"; readonly peerId: string };

/** Who wants to be let in. */
export interface Joiner {
  readonly fingerprint: string;
  /** What it would like to be called, where the invitation leaves it open. */
  readonly as?: string | undefined;
  /** Whether a name is somebody's that this store does not know: in a configuration, for one. */
  readonly isTaken?: ((peerId: string) => boolean) | undefined;
  /** Whose the key is there, enabled or not. */
  readonly holder?: ((fingerprint: string) => string | undefined) | undefined;
}

/** All that writes throws {@linkcode StoreError}. */
export interface InvitationStore {
  invitations(): Promise<readonly Invitation[]>;
  /** @throws {StoreError} `STORE_EXISTS`; @throws {PeerError} if its peer or scopes are malformed. */
  addInvitation(invitation: Invitation, options?: ChangeOptions): Promise<void>;
  /** @throws {StoreError} `STORE_NOT_FOUND` */
  removeInvitation(id: string, options?: ChangeOptions): Promise<void>;
  /**
   * Let in who has an invitation's secret: use it up, make the peer and note it, in one transaction. Of many
   * with one secret exactly one joins. Where the invitation leaves the name open, and the joiner's own idea
   * cannot be one, it gets the invitation's `id`. A name that another invitation is for is taken.
   *
   * Who has no invitation that is good is told so without a transaction: strangers write nothing.
   */
  redeem(secretHash: string, joiner: Joiner): Promise<Redeemed>;
}

/** What a store of invitations stands on. */
export interface InvitationStoreParts {
  readonly backend: StoreBackend;
  readonly clock: Clock;
  /** All that the store knows of, as this process has seen it last. */
  readonly peers: () => readonly PeerEntry[];
  /** Throws once the store is closed. */
  readonly check: () => void;
  readonly commit: StoreCommit;
  readonly note: StoreNote;
}

/** How long an invitation is kept after it has expired, in milliseconds: so that who comes late is told. */
const KEPT_INVITATION = 30 * 86_400_000;

/** Most old invitations that are forgotten at once. */
const MAX_FORGOTTEN = 64;

/** The invitations of a store that has `parts`. */
export function invitationStore(parts: InvitationStoreParts): InvitationStore {
  const { backend, clock, peers, check, commit, note } = parts;
  /** The latest that it has been. */
  let latest = 0;

  /** A clock that is set back makes nothing good again. */
  function wallTime(): number {
    return (latest = Math.max(latest, clock.wallTime()));
  }

  /** Whether somebody else was invited under the name. */
  async function isKept(name: string, id: string): Promise<boolean> {
    const now = wallTime();
    return (await backend.invitations()).some(
      (each) =>
        each.id !== id &&
        each.usedAt === undefined &&
        each.expiresAt > now &&
        each.peerId?.toLowerCase() === name.toLowerCase(),
    );
  }

  async function redeemWithin(
    transaction: StoreTransaction,
    invitation: Invitation,
    { fingerprint, as = "", isTaken, holder: holderElsewhere }: Joiner,
  ): Promise<Redeemed> {
    const now = wallTime();
    if (invitation.usedAt !== undefined) {
      const [holder] = await transaction.holdersOf(fingerprint);
      const peer = holder === undefined ? undefined : await transaction.peer(holder);
      const same = invitation.usedBy === fingerprint && peer !== undefined;
      return same ? { outcome: "joined before", peer } : { outcome: "used" };
    }
    if (invitation.expiresAt <= now) return { outcome: "expired" };
    const peerId = invitation.peerId ?? (mayBePeerId(as) ? as : invitation.id);
    const before = await transaction.peer(peerId);
    // Made in the meantime, or the joiner's own idea.
    const taken = isTaken?.(peerId) === true || (before !== undefined && !invitation.addsKey);
    if (taken) return { outcome: "name taken", peerId };
    // To take a peer away is to take it away also from who was about to join it.
    if (invitation.addsKey && before?.enabled !== true) return { outcome: "peer gone", peerId };
    const [known] = await transaction.holdersOf(fingerprint);
    const holder = holderElsewhere?.(fingerprint) ?? known;
    if (holder !== undefined && holder !== before?.peerId) {
      return { outcome: "key known", peerId: holder };
    }
    // Who was shut out comes back by no other name: it could not be enabled again then.
    for (const each of peers().filter((it) => it.fingerprints.includes(fingerprint))) {
      // Another process may have disabled it a moment ago, or enabled it, or have taken the key away.
      const row = await transaction.peer(each.peerId);
      if (row?.enabled === false && row.fingerprints.includes(fingerprint)) {
        return { outcome: "peer gone", peerId: row.peerId };
      }
    }
    const { fingerprints = [], scopes = [] } = before ?? {};
    const peer = parsePeer({
      enabled: true,
      ...before,
      peerId: before?.peerId ?? peerId,
      fingerprints: [...new Set([...fingerprints, fingerprint])],
      scopes: [...new Set([...scopes, ...invitation.scopes])],
    });
    await transaction.putInvitation({ ...invitation, usedAt: now, usedBy: fingerprint });
    await transaction.putPeer(peer);
    // It is the joiner who did this, by leave of whoever had made the invitation.
    const { id, createdBy: invitedBy } = invitation;
    const detail = { invitation: id, invitedBy, fingerprint, scopes: peer.scopes };
    await note(transaction, peer.peerId, "peer.join", peer.peerId, detail);
    return { outcome: "joined", peer, change: 0 };
  }

  return {
    async invitations() {
      check();
      return await backend.invitations();
    },

    async addInvitation(invitation, { actor = "owner" } = {}) {
      const { id, peerId, scopes, expiresAt } = invitation;
      checkInvitation(invitation);
      check();
      const over = (await backend.invitations()).filter(
        (each) => each.expiresAt + KEPT_INVITATION <= wallTime(),
      );
      await backend.transaction(async (transaction) => {
        for (const each of over.slice(0, MAX_FORGOTTEN))
          await transaction.deleteInvitation(each.id);
        if ((await transaction.invitation({ id })) !== undefined) {
          throw new StoreError(
            "STORE_EXISTS",
            `there is an invitation ${JSON.stringify(id)} already`,
          );
        }
        if (peerId !== undefined) await checkInvited(transaction, invitation, peerId);
        await transaction.putInvitation(invitation);
        await note(transaction, actor, "invitation.create", id, { peerId, scopes, expiresAt });
      });
    },

    async removeInvitation(id, { actor = "owner" } = {}) {
      check();
      await backend.transaction(async (transaction) => {
        if ((await transaction.invitation({ id })) === undefined) throw notFound("invitation", id);
        await transaction.deleteInvitation(id);
        await note(transaction, actor, "invitation.remove", id, {});
      });
    },

    async redeem(secretHash, joiner) {
      check();
      const seen = await backend.invitation(secretHash);
      if (seen === undefined) return { outcome: "unknown" };
      if (seen.usedAt === undefined) {
        if (seen.expiresAt <= wallTime()) return { outcome: "expired" };
      } else if (seen.usedBy !== joiner.fingerprint) return { outcome: "used" };
      const { as = "" } = joiner;
      const kept = seen.peerId === undefined && as !== "" && (await isKept(as, seen.id));
      const isTaken = (name: string): boolean =>
        (kept && name === as) || joiner.isTaken?.(name) === true;
      const result: { redeemed: Redeemed } = { redeemed: { outcome: "unknown" } };
      const { change } = await commit(async (transaction) => {
        const invitation = await transaction.invitation({ secretHash });
        if (invitation === undefined) return undefined;
        const redeemed = await redeemWithin(transaction, invitation, { ...joiner, isTaken });
        result.redeemed = redeemed;
        return redeemed.outcome === "joined" ? { peers: [redeemed.peer.peerId] } : undefined;
      });
      const { redeemed } = result;
      return redeemed.outcome === "joined" ? { ...redeemed, change } : redeemed;
    },
  };
}
