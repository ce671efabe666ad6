/**
 * What a database has to do for a store of identities: rows, transactions, and the news that rows have changed.
 *
 * The rules (what may be written, what is noted of it, what look-ups see) are the store's, and the same for
 * all; see `identity-store.ts` and `store-follower.ts`. `@alknet/core/conformance` tests a backend beneath a store.
 *
 * @module
 */

import type { ApiKeyEntry } from "./api-key.ts";
import type { PeerEntry } from "./peers.ts";

/**
 * A secret, sealed by the vault, which has this shape from there: a store keeps it and cannot open it. 64 KiB in all at
 * most.
 */
export interface EncryptedData {
  /** Which key it is sealed under; later ones are higher. */
  readonly key_version: number;
  /** May be empty. */
  readonly salt: Uint8Array;
  readonly iv: Uint8Array;
  readonly data: Uint8Array;
}

/** Leave to become a peer, for one who has the secret. */
export interface Invitation {
  /** Names it for people: 8 letters or digits; no secret. */
  readonly id: string;
  /** `sha256:` and 64 hex digits, over the secret's 16 bytes. */
  readonly secretHash: string;
  /** What the peer is to be called; `undefined`: as it likes, if the name is free. */
  readonly peerId: string | undefined;
  readonly scopes: readonly string[];
  /** The peer exists, and gets one key more. */
  readonly addsKey: boolean;
  /** Milliseconds since 1970 UTC, as all times here. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Who made it: `owner`, or a `peer_id`. */
  readonly createdBy: string;
  readonly usedAt: number | undefined;
  /** Fingerprint of the key that was let in by it. */
  readonly usedBy: string | undefined;
}

/** Who changed what when. */
export interface AuditEntry {
  /** Rises with time. */
  readonly id: number;
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
  /** `owner`, a `peer_id`, … */
  readonly actor: string;
  /** `peer.add`, `peer.change`, `peer.remove`, `token.create`, … */
  readonly action: string;
  /** Name of what was changed. */
  readonly subject: string;
  /** What of it: plain JSON, no secrets; at most 4 KiB as text. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** A row as it was read. What cannot be used is told apart, and costs no other row. */
export type Loaded =
  | { readonly kind: "peer"; readonly entry: PeerEntry }
  | { readonly kind: "apiKey"; readonly entry: ApiKeyEntry }
  | { readonly kind: "credential"; readonly provider: string; readonly value: EncryptedData }
  /** `subject` as in `peer laptop`. */
  | { readonly kind: "broken"; readonly subject: string; readonly message: string };

/** What a change is about. */
export interface ChangedNames {
  readonly peers?: readonly string[] | undefined;
  readonly apiKeys?: readonly string[] | undefined;
  readonly credentials?: readonly string[] | undefined;
}

/** News of a change that was committed, here or in another process. */
export interface BackendChange {
  /** Number of the newest change told of; rises. 0: the database has none for it. */
  readonly change: number;
  /** `undefined`: whoever wrote it did not say, anything may have changed. */
  readonly names: ChangedNames | undefined;
}

/** Whether the database can be relied upon now. */
export type BackendState =
  | { readonly kind: "ready" }
  /** The last snapshot is what look-ups see. `since` in milliseconds since 1970. */
  | { readonly kind: "stale"; readonly reason: string; readonly since: number };

export interface BackendEvents {
  changed(change: BackendChange): void;
  /** Ready, after a loss: all may have changed. The store counts as stale until it has read everything again. */
  state(state: BackendState): void;
}

/** One transaction. Names of peers are compared without upper and lower case. */
export interface StoreTransaction {
  peer(peerId: string): Promise<PeerEntry | undefined>;
  apiKey(prefix: string): Promise<ApiKeyEntry | undefined>;
  /** Names of the enabled peers and API keys that hold a fingerprint, or a token hash (`sha256:…`). */
  holdersOf(credential: string): Promise<readonly string[]>;
  putPeer(entry: PeerEntry): Promise<void>;
  deletePeer(peerId: string): Promise<void>;
  putApiKey(entry: ApiKeyEntry): Promise<void>;
  deleteApiKey(prefix: string): Promise<void>;
  /** The credentials of these providers, or all; also what cannot be used. @default all */
  credentials(providers?: readonly string[]): Promise<readonly Loaded[]>;
  putCredential(provider: string, value: EncryptedData): Promise<void>;
  deleteCredential(provider: string): Promise<void>;
  invitation(by: { id: string } | { secretHash: string }): Promise<Invitation | undefined>;
  putInvitation(invitation: Invitation): Promise<void>;
  deleteInvitation(id: string): Promise<void>;
  addAudit(entry: Omit<AuditEntry, "id">): Promise<void>;
  /** Tell all processes of the change once it is committed. @returns its number. */
  notify(names: ChangedNames): Promise<number>;
}

export interface StoreBackend {
  /** For messages: a path, or an address without its password. */
  readonly label: string;
  /**
   * All rows as of one moment, some hundred at a time, so that no batch holds the event loop for more than
   * some milliseconds. `change` is the newest change that they contain.
   *
   * `known` is what the store has of an entry now: a row that says the same may be given as that very object.
   *
   * @throws {StoreError}
   */
  load(known: {
    peer(peerId: string): PeerEntry | undefined;
    apiKey(prefix: string): ApiKeyEntry | undefined;
  }): AsyncIterable<{ readonly change: number; readonly rows: readonly Loaded[] }>;
  /**
   * Rows of these names alone, 64 at most, as of now: what is not in the answer does not exist. The peers are as of
   * one moment.
   *
   * If any credential is named, all that there are, as of one moment: a row read alone would be shown beside others
   * of before, and they may have changed together.
   *
   * @throws {StoreError}
   */
  rows(names: ChangedNames): Promise<readonly Loaded[]>;
  /**
   * Run `run` and commit what it did, all or nothing; one at a time, and against other processes too.
   *
   * @throws {StoreError}; what `run` throws, then nothing was changed.
   */
  transaction<T>(run: (transaction: StoreTransaction) => Promise<T>): Promise<T>;
  invitations(): Promise<readonly Invitation[]>;
  /** Outside of any transaction, as of now: strangers ask, and must not be in the way of who writes. @throws {StoreError} */
  invitation(secretHash: string): Promise<Invitation | undefined>;
  /** Oldest first, those with an id above `after`; the newest `limit` of them. */
  audit(options: { after: number; limit: number }): Promise<readonly AuditEntry[]>;
  /** Follow changes of others, and our own, from now on. Called once. */
  watch(events: BackendEvents): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}
