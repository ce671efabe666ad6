/**
 * The store of identities: what peers, API keys, credentials and invitations there are, on any database.
 *
 * Reading is synchronous, from an index in memory that follows the database (`store-follower.ts`). A write resolves
 * when this process sees it.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import type { Cut, Identity, IdentityProvider } from "./access.ts";
import { type ApiKeyEntry, parseApiKey } from "./api-key.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type CredentialStore, credentialStore } from "./credential-store.ts";
import type { IdentityProblem } from "./identity-holder.ts";
import { IdentityIndex } from "./identity-index.ts";
import {
  type InvitationStore,
  invitationStore,
  type Joiner,
  type Redeemed,
} from "./invitation-store.ts";
import { type Logger, silentLogger } from "./log.ts";
import { parsePeer, type PeerEntry, PeerError } from "./peers.ts";
import type { Roles } from "./scope-entry.ts";
import type {
  AuditEntry,
  BackendState,
  ChangedNames,
  Invitation,
  StoreBackend,
  StoreTransaction,
} from "./store-backend.ts";
import type { ChangeOptions, Committed, StoreCommit, StoreNote } from "./store-change.ts";
import { StoreFollower } from "./store-follower.ts";
import { checkPeer, notFound, peerChange } from "./store-rules.ts";

export interface IdentityStoreOptions {
  readonly roles?: Roles | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** `await using` closes it. All that writes throws {@linkcode StoreError}. */
export interface IdentityStore extends IdentityProvider, InvitationStore, AsyncDisposable {
  readonly label: string;
  readonly credentials: CredentialStore;
  readonly peers: readonly PeerEntry[];
  readonly apiKeys: readonly ApiKeyEntry[];
  /** Rows that grant less than was meant, or nothing. */
  readonly problems: readonly IdentityProblem[];
  /** Whether look-ups see the database as it is. */
  readonly state: BackendState;
  /** Upper and lower case count as one. */
  peer(peerId: string): PeerEntry | undefined;
  apiKey(prefix: string): ApiKeyEntry | undefined;

  /**
   * Replace a peer by what `change` makes of it, in one transaction: `undefined` before is none, `undefined`
   * after removes it. With another `peerId` it is renamed.
   *
   * @throws {PeerError} if the entry is malformed, or its name or a key is another's.
   * @throws what `change` throws; nothing is changed then.
   */
  changePeer(
    peerId: string,
    change: (before: PeerEntry | undefined) => PeerEntry | undefined,
    options?: ChangeOptions,
  ): Promise<Committed>;
  /** Add or replace. */
  putPeer(entry: PeerEntry, options?: ChangeOptions): Promise<Committed>;
  /** Replace. @throws {StoreError} `STORE_NOT_FOUND`; @throws {TypeError} if the names differ. */
  updatePeer(peerId: string, entry: PeerEntry, options?: ChangeOptions): Promise<Committed>;
  /** @throws {StoreError} `STORE_NOT_FOUND` */
  removePeer(peerId: string, options?: ChangeOptions): Promise<Committed>;
  /** Add or replace. @throws {PeerError} `DUPLICATE_TOKEN` */
  putApiKey(entry: ApiKeyEntry, options?: ChangeOptions): Promise<Committed>;
  /** @throws {StoreError} `STORE_NOT_FOUND` */
  removeApiKey(prefix: string, options?: ChangeOptions): Promise<Committed>;

  /** Note something that was done by other means. */
  addAudit(entry: Omit<AuditEntry, "id" | "at">): Promise<void>;
  /** Oldest first: the newest `limit` of those with an id above `after`. @default after 0, limit 100 */
  audit(options?: { after?: number; limit?: number }): Promise<readonly AuditEntry[]>;

  setRoles(roles: Roles): Cut;
  /** Read everything again; resolves when look-ups see it. @throws {StoreError} */
  reload(): Promise<void>;
  /** What a change has ended here, once this process has seen it; a number of another process will do. */
  effectOf(change: number, options?: { signal?: AbortSignal }): Promise<Cut>;
  /** Have `listener` called when `state` or `problems` may be others. @returns how to stop it. */
  onstate(listener: () => void): () => void;
  close(): Promise<void>;
}

/** Largest text of an audit entry, in UTF-16 code units. */
const MAX_DETAIL = 4_096;

/**
 * Open a store on a database. It is loaded when this resolves.
 *
 * @throws {StoreError} if the database cannot be read.
 */
export async function openIdentityStore(
  backend: StoreBackend,
  options: IdentityStoreOptions = {},
): Promise<IdentityStore> {
  const store = new Store(backend, options);
  try {
    await store.open();
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

class Store implements IdentityStore {
  readonly credentials: CredentialStore;
  readonly #backend: StoreBackend;
  readonly #clock: Clock;
  readonly #index: IdentityIndex;
  readonly #follower: StoreFollower;
  readonly #invitations: InvitationStore;

  constructor(backend: StoreBackend, options: IdentityStoreOptions) {
    const { roles, clock = systemClock, logger = silentLogger } = options;
    this.#backend = backend;
    this.#clock = clock;
    this.#index = new IdentityIndex({ roles, clock });
    this.#follower = new StoreFollower({ backend, index: this.#index, clock, logger });
    const commit: StoreCommit = (run) => this.#commit(run);
    const note: StoreNote = (...what) => this.#note(...what);
    const check = (): void => this.#follower.check();
    this.credentials = credentialStore({ snapshot: () => this.#follower.secrets, commit, note });
    this.#invitations = invitationStore({
      backend,
      clock,
      peers: () => this.peers,
      check,
      commit,
      note,
    });
  }

  open(): Promise<void> {
    return this.#follower.open();
  }

  get label(): string {
    return this.#backend.label;
  }

  get peers(): readonly PeerEntry[] {
    return this.#index.peers;
  }

  get apiKeys(): readonly ApiKeyEntry[] {
    return this.#index.apiKeys;
  }

  get problems(): readonly IdentityProblem[] {
    return this.#index.problems;
  }

  get state(): BackendState {
    return this.#follower.state;
  }

  resolveFingerprint(fingerprint: string): Identity | undefined {
    return this.#index.resolveFingerprint(fingerprint);
  }

  resolveToken(token: Uint8Array): Identity | undefined {
    return this.#index.resolveToken(token);
  }

  subscribe(listener: (cut: Cut) => void): () => void {
    return this.#index.subscribe(listener);
  }

  peer(peerId: string): PeerEntry | undefined {
    return this.#index.peer(peerId);
  }

  apiKey(prefix: string): ApiKeyEntry | undefined {
    return this.#index.apiKey(prefix);
  }

  // Writes

  async changePeer(
    peerId: string,
    change: (before: PeerEntry | undefined) => PeerEntry | undefined,
    { actor = "owner" }: ChangeOptions = {},
  ): Promise<Committed> {
    const names: string[] = [];
    return await this.#commit(async (transaction) => {
      const before = await transaction.peer(peerId);
      const made = change(before);
      const after = made && parsePeer(made);
      if (before === undefined && after === undefined) throw notFound("peer", peerId);
      // What says the same is no change: nothing to note, and nobody to tell.
      if (isDeepStrictEqual(before, after)) return undefined;
      if (after !== undefined) await checkPeer(transaction, before, after);
      if (before !== undefined && before.peerId !== after?.peerId) {
        await transaction.deletePeer(before.peerId);
        names.push(before.peerId);
      }
      if (after !== undefined) {
        await transaction.putPeer(after);
        names.push(after.peerId);
      }
      await this.#note(transaction, actor, ...peerChange(before, after));
      return { peers: names };
    });
  }

  putPeer(entry: PeerEntry, options?: ChangeOptions): Promise<Committed> {
    return this.changePeer(entry.peerId, () => entry, options);
  }

  updatePeer(peerId: string, entry: PeerEntry, options?: ChangeOptions): Promise<Committed> {
    if (entry.peerId !== peerId) {
      const names = `${JSON.stringify(peerId)} and ${JSON.stringify(entry.peerId)}`;
      return Promise.reject(
        new TypeError(`cannot update a peer under another name: got ${names}; rename it`),
      );
    }
    const change = (before: PeerEntry | undefined): PeerEntry => {
      if (before === undefined) throw notFound("peer", peerId);
      return entry;
    };
    return this.changePeer(peerId, change, options);
  }

  removePeer(peerId: string, options?: ChangeOptions): Promise<Committed> {
    return this.changePeer(peerId, () => undefined, options);
  }

  async putApiKey(entry: ApiKeyEntry, { actor = "owner" }: ChangeOptions = {}): Promise<Committed> {
    const parsed = parseApiKey(entry);
    const { prefix, hash, scopes, description, expiresAt } = parsed;
    return await this.#commit(async (transaction) => {
      const others = await transaction.holdersOf(hash);
      const other = others.find((name) => name !== prefix);
      if (other !== undefined) {
        const text = `its token is also the token of ${JSON.stringify(other)}`;
        throw new PeerError("DUPLICATE_TOKEN", prefix, ["tokenHash"], text);
      }
      const isNew = (await transaction.apiKey(prefix)) === undefined;
      await transaction.putApiKey(parsed);
      const action = isNew ? "token.create" : "token.change";
      await this.#note(transaction, actor, action, prefix, { scopes, description, expiresAt });
      return { apiKeys: [prefix] };
    });
  }

  async removeApiKey(prefix: string, { actor = "owner" }: ChangeOptions = {}): Promise<Committed> {
    return await this.#commit(async (transaction) => {
      if ((await transaction.apiKey(prefix)) === undefined) throw notFound("API key", prefix);
      await transaction.deleteApiKey(prefix);
      await this.#note(transaction, actor, "token.revoke", prefix, {});
      return { apiKeys: [prefix] };
    });
  }

  // Invitations

  invitations(): Promise<readonly Invitation[]> {
    return this.#invitations.invitations();
  }

  addInvitation(invitation: Invitation, options?: ChangeOptions): Promise<void> {
    return this.#invitations.addInvitation(invitation, options);
  }

  removeInvitation(id: string, options?: ChangeOptions): Promise<void> {
    return this.#invitations.removeInvitation(id, options);
  }

  redeem(secretHash: string, joiner: Joiner): Promise<Redeemed> {
    return this.#invitations.redeem(secretHash, joiner);
  }

  // Audit

  async addAudit({ actor, action, subject, detail }: Omit<AuditEntry, "id" | "at">): Promise<void> {
    this.#follower.check();
    await this.#backend.transaction((transaction) =>
      this.#note(transaction, actor, action, subject, detail),
    );
  }

  async audit({ after = 0, limit = 100 } = {}): Promise<readonly AuditEntry[]> {
    this.#follower.check();
    return await this.#backend.audit({ after, limit });
  }

  async #note(
    transaction: StoreTransaction,
    actor: string,
    action: string,
    subject: string,
    detail: AuditEntry["detail"],
  ): Promise<void> {
    const kept = JSON.stringify(detail).length > MAX_DETAIL ? { omitted: "too long" } : detail;
    const at = this.#clock.wallTime();
    await transaction.addAudit({ at, actor, action, subject, detail: kept });
  }

  // What changes

  /** Run a transaction that says what it changed, and have it seen here before its promise resolves. */
  async #commit(
    run: (transaction: StoreTransaction) => Promise<ChangedNames | undefined>,
  ): Promise<Committed> {
    this.#follower.check();
    let names: ChangedNames | undefined;
    const change = await this.#backend.transaction(async (transaction) => {
      names = await run(transaction);
      return names === undefined ? 0 : await transaction.notify(names);
    });
    if (names === undefined) return { change: 0, cut: { connections: 0, grants: 0 } };
    return { change, cut: await this.#follower.committed({ change, names }) };
  }

  setRoles(roles: Roles): Cut {
    return this.#follower.setRoles(roles);
  }

  reload(): Promise<void> {
    return this.#follower.reload();
  }

  effectOf(change: number, { signal }: { signal?: AbortSignal } = {}): Promise<Cut> {
    return this.#follower.effectOf(change, signal);
  }

  onstate(listener: () => void): () => void {
    return this.#follower.onstate(listener);
  }

  close(): Promise<void> {
    return this.#follower.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
