/**
 * The store of identities: what peers, API keys, credentials and invitations there are, on any database.
 *
 * Reading is synchronous, from an index in memory. A write resolves when this process sees it. A change,
 * here or in another process, first cuts what it names, and then everything is read again: a reload cannot
 * miss a row, and a slow one must not keep a right alive.
 *
 * What look-ups see never goes back to before a change that counts as seen: of two reads that overlap, which may
 * come in either order, the one that may be older is made again. Credentials are all as of one commit. So is each
 * peer, and a key that two of them seem to have, one before it moved and one after, is nobody's.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import type { Cut, Identity, IdentityProvider } from "./access.ts";
import { type ApiKeyEntry, parseApiKey } from "./api-key.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type CredentialStore, credentialStore } from "./credential-store.ts";
import { IdentityIndex, type IdentityProblem, type Rebuild } from "./identity-index.ts";
import { type Logger, silentLogger } from "./log.ts";
import { mayBePeerId, parsePeer, type PeerEntry, PeerError } from "./peers.ts";
import type { Roles } from "./scope-entry.ts";
import type {
  AuditEntry,
  BackendChange,
  BackendState,
  ChangedNames,
  EncryptedData,
  Invitation,
  Loaded,
  StoreBackend,
  StoreTransaction,
} from "./store-backend.ts";
import type { ChangeOptions, Committed } from "./store-change.ts";
import { StoreError } from "./store-error.ts";
import { checkInvitation, checkInvited, checkPeer, notFound, peerChange } from "./store-rules.ts";

export interface IdentityStoreOptions {
  readonly roles?: Roles | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** What came of an invitation. */
export type Redeemed =
  | { readonly outcome: "joined"; readonly peer: PeerEntry; readonly change: number }
  /** By the same key, before: its answer may have been lost. */
  | { readonly outcome: "joined before"; readonly peer: PeerEntry }
  | { readonly outcome: "unknown" | "expired" | "used" }
  /**
   * The name that it was to have is another's, or the key is; or the peer that was to get one key more is
   * there no more, or is disabled. The invitation is as good as before.
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

/** `await using` closes it. All that writes throws {@linkcode StoreError}. */
export interface IdentityStore extends IdentityProvider, AsyncDisposable {
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

/** At most so long is the event loop held by a reload, in milliseconds. */
const SLICE = 2;

/** Between a change and the reload after it, in milliseconds: many changes are one reload. */
const RELOAD_PAUSE = 50;

/** And so many times as long as the last reload took: while many changes come, a fifth of the time is spent on them. */
const RELOAD_REST = 4;

/** After a reload that failed, in milliseconds. */
const RETRY_PAUSE = 1_000;

/** Effects of so many changes are remembered. */
const MAX_EFFECTS = 1_024;

/** Most names that a change spells out; more are a reload for everybody. */
const MAX_NAMES = 64;

/** How long an invitation is kept after it has expired, in milliseconds: so that who comes late is told. */
const KEPT_INVITATION = 30 * 86_400_000;

/** Most old invitations that are forgotten at once. */
const MAX_FORGOTTEN = 64;

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
  readonly #logger: Logger;
  readonly #index: IdentityIndex;
  #secrets: ReadonlyMap<string, EncryptedData> = new Map();
  /** Changes are looked at one after another. */
  #queue: Promise<unknown> = Promise.resolve();
  #reloading: Promise<void> | undefined;
  #again: Promise<void> | undefined;
  /** What was looked at while a reload is under way, after the moment that it reads: newer than that. */
  #newer: Newer | undefined;
  /** What was looked at while a reload begins: which of the two is newer is not known. */
  #unsure: ChangedNames[] | undefined;
  #backendState: BackendState = { kind: "ready" };
  /** Said to be ready again, which counts when everything has been read since. */
  #resumed: { readonly state: BackendState } | undefined;
  #failure: (BackendState & { kind: "stale" }) | undefined;
  #lastCut: Cut = { connections: 0, grants: 0 };
  #reloadDue: AbortSignal | undefined;
  /** Of the last reload, in milliseconds. */
  #reloadTime = 0;
  /** So many reloads have begun, and read what is as of a moment that is over. */
  #moments = 0;
  /** The latest that it has been. */
  #latest = 0;
  #seen = 0;
  readonly #effects: { readonly change: number; readonly cut: Cut }[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #stateListeners = new Set<() => void>();
  #closing: Promise<void> | undefined;

  constructor(backend: StoreBackend, options: IdentityStoreOptions) {
    const { roles, clock = systemClock, logger = silentLogger } = options;
    this.#backend = backend;
    this.#clock = clock;
    this.#logger = logger;
    this.#index = new IdentityIndex({ roles, clock });
    this.credentials = credentialStore({
      snapshot: () => this.#secrets,
      commit: (run) => this.#commit(run),
      note: (...what) => this.#note(...what),
    });
  }

  async open(): Promise<void> {
    // First listen, then look: nothing can happen in between.
    await this.#backend.watch({
      changed: (change) => void this.#onchanged(change),
      state: (state) => this.#onstate(state),
    });
    await this.reload();
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
    return this.#backendState.kind === "stale"
      ? this.#backendState
      : (this.#failure ?? this.#backendState);
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

  async invitations(): Promise<readonly Invitation[]> {
    this.#check();
    return await this.#backend.invitations();
  }

  async addInvitation(
    invitation: Invitation,
    { actor = "owner" }: ChangeOptions = {},
  ): Promise<void> {
    const { id, peerId, scopes, expiresAt } = invitation;
    checkInvitation(invitation);
    this.#check();
    const over = (await this.#backend.invitations()).filter(
      (each) => each.expiresAt + KEPT_INVITATION <= this.#wallTime(),
    );
    await this.#backend.transaction(async (transaction) => {
      for (const each of over.slice(0, MAX_FORGOTTEN)) await transaction.deleteInvitation(each.id);
      if ((await transaction.invitation({ id })) !== undefined) {
        throw new StoreError(
          "STORE_EXISTS",
          `there is an invitation ${JSON.stringify(id)} already`,
        );
      }
      if (peerId !== undefined) await checkInvited(transaction, invitation, peerId);
      await transaction.putInvitation(invitation);
      await this.#note(transaction, actor, "invitation.create", id, { peerId, scopes, expiresAt });
    });
  }

  async removeInvitation(id: string, { actor = "owner" }: ChangeOptions = {}): Promise<void> {
    this.#check();
    await this.#backend.transaction(async (transaction) => {
      if ((await transaction.invitation({ id })) === undefined) throw notFound("invitation", id);
      await transaction.deleteInvitation(id);
      await this.#note(transaction, actor, "invitation.remove", id, {});
    });
  }

  async redeem(secretHash: string, joiner: Joiner): Promise<Redeemed> {
    this.#check();
    const seen = await this.#backend.invitation(secretHash);
    if (seen === undefined) return { outcome: "unknown" };
    if (seen.usedAt === undefined) {
      if (seen.expiresAt <= this.#wallTime()) return { outcome: "expired" };
    } else if (seen.usedBy !== joiner.fingerprint) return { outcome: "used" };
    const { as = "" } = joiner;
    const kept = seen.peerId === undefined && as !== "" && (await this.#isKept(as, seen.id));
    const isTaken = (name: string): boolean =>
      (kept && name === as) || joiner.isTaken?.(name) === true;
    const result: { redeemed: Redeemed } = { redeemed: { outcome: "unknown" } };
    const { change } = await this.#commit(async (transaction) => {
      const invitation = await transaction.invitation({ secretHash });
      if (invitation === undefined) return undefined;
      const redeemed = await this.#redeem(transaction, invitation, { ...joiner, isTaken });
      result.redeemed = redeemed;
      return redeemed.outcome === "joined" ? { peers: [redeemed.peer.peerId] } : undefined;
    });
    const { redeemed } = result;
    return redeemed.outcome === "joined" ? { ...redeemed, change } : redeemed;
  }

  /** Whether somebody else was invited under the name. */
  async #isKept(name: string, id: string): Promise<boolean> {
    const now = this.#wallTime();
    return (await this.#backend.invitations()).some(
      (each) =>
        each.id !== id &&
        each.usedAt === undefined &&
        each.expiresAt > now &&
        each.peerId?.toLowerCase() === name.toLowerCase(),
    );
  }

  /** A clock that is set back makes nothing good again. */
  #wallTime(): number {
    return (this.#latest = Math.max(this.#latest, this.#clock.wallTime()));
  }

  async #redeem(
    transaction: StoreTransaction,
    invitation: Invitation,
    { fingerprint, as = "", isTaken, holder: holderElsewhere }: Joiner,
  ): Promise<Redeemed> {
    const now = this.#wallTime();
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
    await this.#note(transaction, peer.peerId, "peer.join", peer.peerId, detail);
    return { outcome: "joined", peer, change: 0 };
  }

  // Audit

  async addAudit({ actor, action, subject, detail }: Omit<AuditEntry, "id" | "at">): Promise<void> {
    this.#check();
    await this.#backend.transaction((transaction) =>
      this.#note(transaction, actor, action, subject, detail),
    );
  }

  async audit({ after = 0, limit = 100 } = {}): Promise<readonly AuditEntry[]> {
    this.#check();
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
    this.#check();
    let names: ChangedNames | undefined;
    const change = await this.#backend.transaction(async (transaction) => {
      names = await run(transaction);
      return names === undefined ? 0 : await transaction.notify(names);
    });
    if (names === undefined) return { change: 0, cut: { connections: 0, grants: 0 } };
    try {
      return { change, cut: await this.#apply({ change, names }) };
    } catch (error) {
      // It is committed: what it takes away must fall, also if nobody tells of it again.
      if (this.#closing === undefined) this.#failed(error);
      throw error;
    }
  }

  async #onchanged(change: BackendChange): Promise<void> {
    try {
      await this.#apply(change);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Cut what a change names, at once; then have everything read again. */
  async #apply({ change, names }: BackendChange): Promise<Cut> {
    const spelt = names !== undefined && countOf(names) <= MAX_NAMES ? names : undefined;
    if (spelt === undefined) {
      await this.#queue;
      if (this.#closing !== undefined) return { connections: 0, grants: 0 };
      // Not in the queue: what is named meanwhile is cut at once, and does not wait for all the rest.
      await this.reload();
      this.#saw(change, this.#lastCut);
      return this.#lastCut;
    }
    const cut = await this.#look(spelt);
    this.#reloadSoon();
    this.#saw(change, cut);
    return cut;
  }

  /** Look at what a change names, after the changes of before. */
  async #look(names: ChangedNames): Promise<Cut> {
    const turn = this.#queue.then(async () => {
      if (this.#closing !== undefined) return { connections: 0, grants: 0 };
      let moments: number;
      let rows: readonly Loaded[];
      do {
        moments = this.#moments;
        rows = await this.#backend.rows(names);
        // What a reload reads meanwhile may be newer, and must not be undone for a moment.
      } while (moments !== this.#moments && this.#closing === undefined);
      this.#unsure?.push(names);
      return this.#patch(names, rows);
    });
    this.#queue = turn.catch(() => {});
    return await turn;
  }

  #patch(names: ChangedNames, rows: readonly Loaded[]): Cut {
    const peers = new Map<string, PeerEntry | undefined>();
    const apiKeys = new Map<string, ApiKeyEntry | undefined>();
    const secrets = new Map<string, EncryptedData>();
    const read = new Map<string, string>();
    for (const name of names.peers ?? []) peers.set(name.toLowerCase(), undefined);
    for (const prefix of names.apiKeys ?? []) apiKeys.set(prefix, undefined);
    for (const row of rows) {
      if (row.kind === "peer") {
        const name = row.entry.peerId.toLowerCase();
        // Two of one name: which of them counts is for the reload to say, and meanwhile neither does.
        const other = read.get(name) ?? row.entry.peerId;
        peers.set(name, other === row.entry.peerId ? row.entry : undefined);
        read.set(name, other === row.entry.peerId ? other : "");
      } else if (row.kind === "apiKey") apiKeys.set(row.entry.prefix, row.entry);
      else if (row.kind === "credential") secrets.set(row.provider, row.value);
      // A broken row grants nothing; the reload tells of it.
    }
    if (this.#newer !== undefined) {
      for (const [key, entry] of peers) this.#newer.peers.set(key, entry);
      for (const [key, entry] of apiKeys) this.#newer.apiKeys.set(key, entry);
    }
    if ((names.credentials ?? []).length > 0) {
      // All that there are, and not those that the change names: those of before would be beside them.
      this.#secrets = secrets;
      if (this.#newer !== undefined) this.#newer.secrets = secrets;
    }
    return peers.size + apiKeys.size === 0
      ? { connections: 0, grants: 0 }
      : this.#telling(() => this.#index.patch({ peers, apiKeys }));
  }

  /** A follower that fails is at fault itself: what it was told of stands, and is committed. */
  #telling(change: () => Cut): Cut {
    try {
      return change();
    } catch (error) {
      this.#logger.error({ err: error }, "cannot tell all who follow the identities");
      return { connections: 0, grants: 0 };
    }
  }

  /** Read everything again; one at a time, and one more if asked while one is under way. */
  reload(): Promise<void> {
    this.#check();
    if (this.#again !== undefined) return this.#again;
    if (this.#reloading === undefined) return this.#begin();
    this.#again = this.#reloading
      .catch(() => {})
      .then(() => {
        this.#again = undefined;
        return this.#begin();
      });
    return this.#again;
  }

  #begin(): Promise<void> {
    this.#reloading = this.#load().finally(() => (this.#reloading = undefined));
    return this.#reloading;
  }

  async #load(): Promise<void> {
    const begin = performance.now();
    const resumed = this.#resumed;
    const newer: Newer = { peers: new Map(), apiKeys: new Map(), secrets: undefined };
    let lookedAgain: Promise<readonly Cut[]> | undefined;
    this.#unsure = [];
    try {
      const rebuild = this.#index.rebuild();
      const secrets = new Map<string, EncryptedData>();
      let change = 0;
      let sliceEnd = performance.now() + SLICE;
      for await (const batch of this.#backend.load(this.#index)) {
        lookedAgain ??= this.#momentIsOver(newer);
        change = batch.change;
        for (const row of batch.rows) add(rebuild, secrets, row);
        if (performance.now() < sliceEnd) continue;
        await new Promise((resolve) => setImmediate(resolve));
        if (this.#closing !== undefined) return;
        sliceEnd = performance.now() + SLICE;
      }
      const cuts = (await lookedAgain) ?? [];
      this.#secrets = newer.secrets ?? secrets;
      this.#lastCut = sum([...cuts, this.#telling(() => rebuild.swap(newer))]);
      this.#saw(change, this.#lastCut);
      this.#reloadTime = Math.ceil(performance.now() - begin);
      this.#recovered(resumed);
    } catch (error) {
      if (this.#closing === undefined) this.#failed(error);
      throw error;
    } finally {
      this.#newer = undefined;
      this.#unsure = undefined;
    }
  }

  /** A reload has begun to read: what is looked at from now on is newer, and goes into `newer`. */
  #momentIsOver(newer: Newer): Promise<readonly Cut[]> {
    const unsure = this.#unsure ?? [];
    this.#unsure = undefined;
    this.#newer = newer;
    this.#moments++;
    const looks = Promise.all(unsure.map((names) => this.#look(names)));
    // Who waits for it hears of it; if the reload fails itself, nobody does.
    looks.catch(() => {});
    return looks;
  }

  #reloadSoon(pause = Math.max(RELOAD_PAUSE, RELOAD_REST * this.#reloadTime)): void {
    if (this.#reloadDue !== undefined || this.#closing !== undefined) return;
    const due = (this.#reloadDue = this.#clock.timeout(pause));
    const ondue = (): void => {
      this.#reloadDue = undefined;
      // Its failure is told by `state`, and tried again.
      if (this.#closing === undefined) this.reload().catch(() => {});
    };
    if (due.aborted) queueMicrotask(ondue);
    else due.addEventListener("abort", ondue, { once: true });
  }

  #onstate(state: BackendState): void {
    if (this.#closing !== undefined) return;
    if (state.kind === "ready" && this.#backendState.kind === "stale") {
      // Whatever was said in the meantime was not heard.
      this.#resumed = { state };
      this.reload().catch(() => {});
      return;
    }
    const wasReady = this.state.kind === "ready";
    this.#resumed = undefined;
    this.#backendState = state;
    if (state.kind === "stale" && wasReady) {
      this.#logger.error({ store: this.label }, staleText(state.reason));
    }
    this.#tellState();
  }

  #failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    // That the database is out of reach was said before.
    if (this.#failure?.reason !== reason && this.#backendState.kind === "ready") {
      this.#logger.error({ store: this.label, err: error }, staleText(reason));
    }
    const since = this.#failure?.since ?? this.#clock.wallTime();
    this.#failure = { kind: "stale", reason, since };
    this.#tellState();
    this.#reloadSoon(RETRY_PAUSE);
  }

  #recovered(resumed: { readonly state: BackendState } | undefined): void {
    const before: BackendState["kind"] = this.state.kind;
    this.#failure = undefined;
    if (resumed !== undefined && resumed === this.#resumed) {
      this.#backendState = resumed.state;
      this.#resumed = undefined;
    }
    if (before === "stale" && this.state.kind === "ready") {
      this.#logger.info({ store: this.label }, "the store can be read again");
    }
    this.#tellState();
  }

  #tellState(): void {
    for (const listener of this.#stateListeners) listener();
  }

  onstate(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#stateListeners.add(entry);
    return () => this.#stateListeners.delete(entry);
  }

  #saw(change: number, cut: Cut): void {
    if (change === 0) return;
    this.#seen = Math.max(this.#seen, change);
    if (cut.connections + cut.grants > 0 || !this.#effects.some((it) => it.change === change)) {
      this.#effects.push({ change, cut });
      if (this.#effects.length > MAX_EFFECTS) this.#effects.shift();
    }
    for (const wake of this.#waiting) wake();
  }

  async effectOf(change: number, { signal }: { signal?: AbortSignal } = {}): Promise<Cut> {
    if (change === 0) return { connections: 0, grants: 0 };
    while (this.#seen < change) {
      this.#check();
      signal?.throwIfAborted();
      await this.#nextChange(signal);
    }
    // What came together was looked at as one, under the newest number.
    const known = this.#effects.map((it) => it.change).filter((number) => number >= change);
    const under = Math.min(...known);
    const cut = { connections: 0, grants: 0 };
    for (const effect of this.#effects) {
      if (effect.change !== under) continue;
      cut.connections += effect.cut.connections;
      cut.grants += effect.cut.grants;
    }
    return cut;
  }

  #nextChange(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      // What a store listens with keeps no process alive; somebody who waits for it does.
      const alive = setInterval(() => {}, 60_000);
      const done = (): void => {
        clearInterval(alive);
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  setRoles(roles: Roles): Cut {
    return this.#telling(() => this.#index.setRoles(roles));
  }

  #check(): void {
    if (this.#closing === undefined) return;
    throw new StoreError("STORE_CLOSED", `the store ${this.label} was closed`);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#index[Symbol.dispose]();
    for (const wake of this.#waiting) wake();
    // What was begun is finished: a write in progress is acknowledged or was never made.
    await Promise.allSettled([this.#queue, this.#reloading]);
    await this.#backend.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface Newer {
  readonly peers: Map<string, PeerEntry | undefined>;
  readonly apiKeys: Map<string, ApiKeyEntry | undefined>;
  /** All there are. */
  secrets: ReadonlyMap<string, EncryptedData> | undefined;
}

function add(rebuild: Rebuild, secrets: Map<string, EncryptedData>, row: Loaded): void {
  switch (row.kind) {
    case "peer":
      return rebuild.peer(row.entry);
    case "apiKey":
      return rebuild.apiKey(row.entry);
    case "credential":
      secrets.set(row.provider, row.value);
      return;
    case "broken":
      return rebuild.problem({ subject: row.subject, message: row.message });
  }
}

function sum(cuts: readonly Cut[]): Cut {
  return cuts.reduce((a, b) => ({
    connections: a.connections + b.connections,
    grants: a.grants + b.grants,
  }));
}

function countOf({ peers = [], apiKeys = [], credentials = [] }: ChangedNames): number {
  return peers.length + apiKeys.length + credentials.length;
}

function staleText(reason: string): string {
  return `the store cannot be read, its last contents stay in force: ${reason}`;
}
