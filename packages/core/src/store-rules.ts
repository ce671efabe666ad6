/**
 * What may be written to a store of identities, and what is noted of it: the same on every database.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import { parsePeer, type PeerEntry, PeerError } from "./peers.ts";
import type { AuditEntry, EncryptedData, Invitation, StoreTransaction } from "./store-backend.ts";
import { StoreError } from "./store-error.ts";

/** @throws {PeerError} if the name or a key of `after` is another's. */
export async function checkPeer(
  transaction: StoreTransaction,
  before: PeerEntry | undefined,
  after: PeerEntry,
): Promise<void> {
  const { peerId, fingerprints, tokenHash } = after;
  const sameName = before?.peerId.toLowerCase() === peerId.toLowerCase();
  if (!sameName && (await transaction.peer(peerId)) !== undefined) {
    throw new PeerError("DUPLICATE_PEER_ID", peerId, ["peerId"], "there is another of that name");
  }
  if (!after.enabled) return;
  const isOther = (name: string): boolean => name !== before?.peerId && name !== peerId;
  for (const [at, fingerprint] of fingerprints.entries()) {
    const other = (await transaction.holdersOf(fingerprint)).find(isOther);
    if (other === undefined) continue;
    const text = `its key ${fingerprint} is also a key of ${JSON.stringify(other)}`;
    throw new PeerError("DUPLICATE_FINGERPRINT", peerId, ["fingerprints", at], text);
  }
  if (tokenHash === undefined) return;
  const other = (await transaction.holdersOf(tokenHash)).find(isOther);
  if (other === undefined) return;
  const text = `its token is also the token of ${JSON.stringify(other)}`;
  throw new PeerError("DUPLICATE_TOKEN", peerId, ["tokenHash"], text);
}

export async function checkInvited(
  transaction: StoreTransaction,
  { addsKey }: Invitation,
  peerId: string,
): Promise<void> {
  const exists = (await transaction.peer(peerId)) !== undefined;
  if (exists && !addsKey) {
    throw new StoreError("STORE_EXISTS", `there is a peer ${JSON.stringify(peerId)} already`, {
      hint: `to give it one key more: alknet invite --name ${peerId} --add-key`,
    });
  }
  if (!exists && addsKey) throw notFound("peer", peerId);
}

/** @throws {PeerError | RangeError | TypeError} */
export function checkInvitation(invitation: Invitation): void {
  const { id, secretHash, peerId, scopes, createdAt, expiresAt } = invitation;
  if (!/^[a-z0-9]{8}$/.test(id)) {
    throw new TypeError(
      `cannot use invitation ${JSON.stringify(id)}: expected 8 letters or digits`,
    );
  }
  if (!/^sha256:[0-9a-f]{64}$/.test(secretHash)) {
    throw new TypeError(`cannot use invitation ${id}: expected as hash of its secret "sha256:…"`);
  }
  if (!(expiresAt > createdAt && Number.isSafeInteger(Math.floor(expiresAt)))) {
    throw new RangeError(`cannot use invitation ${id}: it would have expired before it was made`);
  }
  // Name and scopes are judged as those of a peer, which they will be.
  parsePeer({ peerId: peerId ?? id, fingerprints: [], scopes, enabled: true });
}

/** Most that a credential may be when it is sealed: salt, iv and data together, in bytes. */
export const MAX_SEALED = 65_536;

/** @throws {TypeError} if no credential can have the name. */
export function checkProvider(provider: string): void {
  if (/^[a-z0-9][a-z0-9._:/-]{0,127}$/i.test(provider)) return;
  const expected =
    '1 to 128 letters, digits, ".", "_", "-", ":" or "/", the first a letter or digit';
  throw new TypeError(
    `cannot keep a credential for ${JSON.stringify(provider.slice(0, 100))}: expected ${expected}`,
  );
}

/** Also of what is read: other programs write into databases, too. @throws {RangeError | TypeError} */
export function checkCredential(provider: string, value: EncryptedData): void {
  checkProvider(provider);
  const { key_version, salt, iv, data } = value;
  const length = salt.length + iv.length + data.length;
  if (length > MAX_SEALED) {
    throw new RangeError(
      `cannot keep credential ${provider}: ${length} bytes, expected at most ${MAX_SEALED}`,
    );
  }
  if (!Number.isSafeInteger(key_version) || key_version < 0) {
    throw new RangeError(
      `cannot keep credential ${provider}: key version ${key_version}, expected a whole number`,
    );
  }
}

/** Action, subject and detail for the audit. Hashes of tokens are left out. */
export function peerChange(
  before: PeerEntry | undefined,
  after: PeerEntry | undefined,
): [action: string, subject: string, detail: AuditEntry["detail"]] {
  if (after === undefined) return ["peer.remove", before?.peerId ?? "", {}];
  const shown = ({ tokenHash, ...rest }: PeerEntry): Record<string, unknown> => ({
    ...rest,
    ...(tokenHash === undefined ? {} : { token: tokenHash.slice(0, 15) }),
  });
  if (before === undefined) return ["peer.add", after.peerId, shown(after)];
  const old = shown(before);
  const changes = Object.entries({ ...blank(old), ...shown(after) })
    .filter(([key, value]) => !isDeepStrictEqual(old[key], value))
    .map(([key, to]) => [key, { from: old[key], to }] as const);
  return ["peer.change", before.peerId, Object.fromEntries(changes)];
}

function blank(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.keys(record).map((key) => [key, undefined]));
}

export function notFound(what: string, name: string): StoreError {
  return new StoreError("STORE_NOT_FOUND", `there is no ${what} ${JSON.stringify(name)}`);
}
