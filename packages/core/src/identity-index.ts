/**
 * Identities in memory: peers and API keys, found by what they prove.
 *
 * What look-ups see is one frozen value. It is replaced, never changed: as a whole from a
 * {@linkcode Rebuild}, or with a few entries patched, and then all who follow are told. Rights that end by
 * the clock end by a patch, too.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import type { Cut, Identity, IdentityProvider } from "./access.ts";
import { type ApiKeyEntry, MAX_TOKEN } from "./api-key.ts";
import { type Clock, systemClock } from "./clock.ts";
import {
  CONTESTED,
  contested,
  fingerprintsOf,
  hashOf,
  type Holder,
  identityOf,
  type IdentityProblem,
  keyOf,
  type Made,
  nameOf,
  NO_RESOURCES,
  roleProblem,
  subjectOf,
} from "./identity-holder.ts";
import { Building, type IdentityPatch, type Rebuild, type Snapshot } from "./identity-rebuild.ts";
import { MinHeap } from "./min-heap.ts";
import { OverlayMap } from "./overlay-map.ts";
import type { PeerEntry } from "./peers.ts";
import { effectiveScopes, NO_ROLES, type Roles } from "./scope-entry.ts";

export interface IdentityIndexOptions {
  readonly roles?: Roles | undefined;
  readonly clock?: Clock | undefined;
}

/** Time between two looks at the clock while some right has an end, in milliseconds: it may be set. */
const LONGEST_WAIT = 1_000;

export class IdentityIndex implements IdentityProvider, Disposable {
  readonly #clock: Clock;
  readonly #listeners = new Set<(cut: Cut) => void>();
  #roles: Roles;
  #snapshot: Snapshot = Object.freeze({
    holders: new OverlayMap<string, Holder>(new Map()),
    byFingerprint: new OverlayMap<string, Holder>(new Map()),
    byToken: new OverlayMap<string, Holder>(new Map()),
    problems: new OverlayMap<string, IdentityProblem>(new Map()),
  });
  #peers: readonly PeerEntry[] | undefined;
  #ends = new MinHeap<End>();
  /** Of the wait that is under way: when it is over. */
  #wakesAt = Infinity;
  #turn: symbol | undefined;
  #latest = 0;
  #disposed = false;

  constructor({ roles = NO_ROLES, clock = systemClock }: IdentityIndexOptions = {}) {
    this.#roles = roles;
    this.#clock = clock;
  }

  resolveFingerprint(fingerprint: string): Identity | undefined {
    return this.#snapshot.byFingerprint.get(fingerprint)?.identity;
  }

  resolveToken(token: Uint8Array): Identity | undefined {
    if (token.length > MAX_TOKEN) return undefined;
    const digest = createHash("sha256").update(token).digest();
    const found = this.#snapshot.byToken.get(digest.toString("hex"));
    if (found?.identity === undefined) return undefined;
    // The look-up is by hash, which tells nothing about the token; the decision is constant in time.
    const hash = hashOf(found);
    const known = hash === undefined ? undefined : Buffer.from(hash, "hex");
    return known !== undefined && timingSafeEqual(known, digest) ? found.identity : undefined;
  }

  /** Have `listener` called after each change. @returns how to stop it. */
  subscribe(listener: (cut: Cut) => void): () => void {
    // One entry per subscription, also when a function subscribes twice.
    const entry = (cut: Cut): void => listener(cut);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** All peers, disabled ones too. The same array until something changes. */
  get peers(): readonly PeerEntry[] {
    return (this.#peers ??= Object.freeze(
      [...this.#snapshot.holders.values()].flatMap((it) => (it.kind === "peer" ? [it.entry] : [])),
    ));
  }

  get apiKeys(): readonly ApiKeyEntry[] {
    return [...this.#snapshot.holders.values()].flatMap((it) =>
      it.kind === "apiKey" ? [it.entry] : [],
    );
  }

  /** Entries that grant less than was meant. */
  get problems(): readonly IdentityProblem[] {
    return [...this.#snapshot.problems.values()];
  }

  get roles(): Roles {
    return this.#roles;
  }

  /** Upper and lower case count as one. */
  peer(peerId: string): PeerEntry | undefined {
    const found = this.#snapshot.holders.get(peerId.toLowerCase());
    return found?.kind === "peer" ? found.entry : undefined;
  }

  apiKey(prefix: string): ApiKeyEntry | undefined {
    const found = this.#snapshot.holders.get(prefix);
    return found?.kind === "apiKey" ? found.entry : undefined;
  }

  /** The identity of a peer, if it is enabled. */
  identity(peerId: string): Identity | undefined {
    return this.#snapshot.holders.get(peerId.toLowerCase())?.identity;
  }

  /** Who holds a fingerprint, or a token hash (`sha256:…`). */
  holderOf(credential: string): string | undefined {
    const { byFingerprint, byToken } = this.#snapshot;
    const found = credential.startsWith("sha256:")
      ? byToken.get(credential.slice("sha256:".length))
      : byFingerprint.get(credential);
    return found === undefined || found === CONTESTED ? undefined : nameOf(found);
  }

  /**
   * Begin a new snapshot. Entries that have not changed keep their identity, and nobody looks again.
   *
   * @param roles to be used from the swap on. @default those that are in use
   */
  rebuild(roles?: Roles): Rebuild {
    const hold =
      roles === undefined
        ? (key: string, made: Made) => this.#reuse(key, made)
        : (_key: string, made: Made) => this.#make(made, roles);
    const madeWith = roles ?? this.#roles;
    return new Building(madeWith, hold, (snapshot, ends, newer) => {
      if (roles !== undefined) this.#roles = roles;
      return this.#rebuilt(snapshot, ends, madeWith, newer);
    });
  }

  /**
   * Put a few entries in the place of those of the same name.
   *
   * An entry with a key that somebody else has is a problem, and the key is nobody's until the next rebuild
   * has looked at all entries.
   *
   * @throws {AggregateError} of what followers threw, after all have been told.
   */
  patch(patch: IdentityPatch): Cut {
    return this.#patch(patch, (key, made) => this.#reuse(key, made));
  }

  #patch(
    { peers = new Map(), apiKeys = new Map() }: IdentityPatch,
    hold: (key: string, made: Made) => Holder,
  ): Cut {
    const { holders, byFingerprint, byToken, problems } = this.#snapshot;
    const changed = new Map<string, Holder | undefined>();
    for (const [peerId, entry] of peers) {
      const holder: Made | undefined = entry && { kind: "peer", entry };
      const key = peerId.toLowerCase();
      changed.set(key, holder && hold(key, holder));
    }
    for (const [prefix, entry] of apiKeys) {
      const holder: Made | undefined = entry && { kind: "apiKey", entry };
      changed.set(prefix, holder && hold(prefix, holder));
    }
    const fingerprints = new Map<string, Holder | undefined>();
    const tokens = new Map<string, Holder | undefined>();
    const troubles = new Map<string, IdentityProblem | undefined>();
    // First all that goes, then all that comes: a key may move from one to the other.
    for (const key of changed.keys()) {
      const before = holders.get(key);
      if (before === undefined) continue;
      this.#unfollow(before);
      for (const each of fingerprintsOf(before)) {
        if (byFingerprint.get(each) === before) fingerprints.set(each, undefined);
      }
      const hash = hashOf(before);
      if (hash !== undefined && byToken.get(hash) === before) tokens.set(hash, undefined);
      troubles.set(subjectOf(before), undefined);
    }
    const claim = (
      taken: OverlayMap<string, Holder>,
      claims: Map<string, Holder | undefined>,
      credential: string,
      holder: Holder,
    ): void => {
      const other = claims.has(credential) ? claims.get(credential) : taken.get(credential);
      claims.set(credential, other === undefined || other === holder ? holder : CONTESTED);
      if (other === undefined || other === holder) return;
      troubles.set(subjectOf(holder), contested(holder, other, credential).problem);
    };
    for (const holder of changed.values()) {
      if (holder === undefined) continue;
      const trouble = roleProblem(holder, this.#roles);
      if (trouble !== undefined) troubles.set(trouble.subject, trouble);
      for (const each of fingerprintsOf(holder)) claim(byFingerprint, fingerprints, each, holder);
      const hash = hashOf(holder);
      if (hash !== undefined) claim(byToken, tokens, hash, holder);
      this.#follow(holder);
    }
    return this.#replace({
      holders: holders.with(changed),
      byFingerprint: byFingerprint.with(fingerprints),
      byToken: byToken.with(tokens),
      problems: problems.with(troubles),
    });
  }

  /** Use other roles from now on. */
  setRoles(roles: Roles): Cut {
    this.#roles = roles;
    return this.#patch(withRoles(this.#snapshot), (_key, made) => this.#make(made));
  }

  /** Follow the clock no more. Look-ups go on. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#turn = undefined;
  }

  #rebuilt(
    snapshot: Snapshot,
    ends: readonly Holder[],
    madeWith: Roles,
    newer: IdentityPatch | undefined,
  ): Cut {
    this.#ends = new MinHeap();
    for (const holder of ends) this.#follow(holder);
    // Roles have changed meanwhile, or the time of a right is over.
    const { peers, apiKeys } =
      madeWith === this.#roles ? { peers: new Map(), apiKeys: new Map() } : withRoles(snapshot);
    const now = this.#wallTime();
    for (const holder of ends) if (holder.changesAt <= now) include(peers, apiKeys, holder);
    for (const [key, entry] of newer?.peers ?? []) peers.set(key.toLowerCase(), entry);
    for (const [key, entry] of newer?.apiKeys ?? []) apiKeys.set(key, entry);
    if (peers.size + apiKeys.size === 0) return this.#replace(snapshot);
    // Nobody looks in between: what was taken away in the meantime must not come back for a moment.
    this.#snapshot = snapshot;
    return this.#patch({ peers, apiKeys }, (_key, made) => this.#make(made));
  }

  #replace(snapshot: Snapshot): Cut {
    this.#snapshot = Object.freeze(snapshot);
    this.#peers = undefined;
    this.#wait();
    const cut: Cut = { connections: 0, grants: 0 };
    const errors: unknown[] = [];
    for (const listener of this.#listeners) {
      try {
        listener(cut);
      } catch (error) {
        errors.push(error);
      }
    }
    // Only now: everybody else had to be told first.
    if (errors.length > 0) throw new AggregateError(errors, "cannot tell all who follow the peers");
    return cut;
  }

  /** What there was, where the entry is the same. */
  #reuse(key: string, made: Made): Holder {
    const before = this.#snapshot.holders.get(key);
    const same = before?.entry === made.entry && before.changesAt > this.#wallTime();
    return same ? before : this.#make(made);
  }

  #make(made: Made, roles: Roles = this.#roles): Holder {
    const { entry } = made;
    const now = this.#wallTime();
    const { scopes, changesAt } = effectiveScopes(entry.scopes, roles, now);
    const key = keyOf(made);
    const before = this.#snapshot.holders.get(key)?.identity;
    if (made.kind === "peer") {
      const identity = made.entry.enabled ? identityOf(made.entry, scopes, before) : undefined;
      return { ...made, identity, changesAt: identity === undefined ? Infinity : changesAt };
    }
    const { prefix, expiresAt = Infinity } = made.entry;
    const end = expiresAt * 1_000;
    if (end <= now) return { ...made, identity: undefined, changesAt: Infinity };
    const named = { peerId: prefix, resources: NO_RESOURCES };
    const identity = identityOf(named, scopes, before);
    return { ...made, identity, changesAt: Math.min(changesAt, end) };
  }

  /** A clock that is set back does not bring back what was over. */
  #wallTime(): number {
    return (this.#latest = Math.max(this.#latest, this.#clock.wallTime()));
  }

  #follow(holder: Holder): void {
    if (holder.changesAt === Infinity) return;
    const end = { key: holder.changesAt, heapIndex: -1, holder };
    this.#ends.push(end);
    endOf.set(holder, end);
  }

  #unfollow(holder: Holder): void {
    const end = endOf.get(holder);
    if (end !== undefined) this.#ends.remove(end);
  }

  #wait(): void {
    const { first } = this.#ends;
    if (first === undefined || first.key >= this.#wakesAt || this.#disposed) return;
    const turn = (this.#turn = Symbol("turn"));
    const now = this.#clock.wallTime();
    // In short steps: the machine may sleep, and its clock may be set.
    this.#wakesAt = Math.min(now + LONGEST_WAIT, Math.max(now + 1, first.key));
    const over = this.#clock.timeout(Math.ceil(this.#wakesAt - now));
    const onover = (): void => {
      if (this.#turn !== turn) return;
      this.#wakesAt = Infinity;
      this.#expire();
    };
    if (over.aborted) queueMicrotask(onover);
    else over.addEventListener("abort", onover, { once: true });
  }

  /** End what is over, all at once. */
  #expire(): void {
    const now = this.#wallTime();
    const peers = new Map<string, PeerEntry>();
    const apiKeys = new Map<string, ApiKeyEntry>();
    for (;;) {
      const { first } = this.#ends;
      if (first === undefined || first.key > now) break;
      this.#ends.remove(first);
      const { holder } = first;
      if (holder.kind === "peer") peers.set(holder.entry.peerId, holder.entry);
      else apiKeys.set(holder.entry.prefix, holder.entry);
    }
    if (peers.size + apiKeys.size > 0) this.patch({ peers, apiKeys });
    else this.#wait();
  }
}

interface End {
  readonly key: number;
  heapIndex: number;
  readonly holder: Holder;
}

/** So that an entry which is replaced takes its end along. */
const endOf = new WeakMap<Holder, End>();

interface Entries {
  readonly peers: Map<string, PeerEntry | undefined>;
  readonly apiKeys: Map<string, ApiKeyEntry | undefined>;
}

/** All that have a role: what they amount to depends on more than themselves. */
function withRoles({ holders }: Snapshot): Entries {
  const entries: Entries = { peers: new Map(), apiKeys: new Map() };
  for (const holder of holders.values()) {
    const { scopes } = holder.entry;
    if (scopes.some((each) => each.startsWith("@"))) {
      include(entries.peers, entries.apiKeys, holder);
    }
  }
  return entries;
}

function include(peers: Entries["peers"], apiKeys: Entries["apiKeys"], holder: Holder): void {
  if (holder.kind === "peer") peers.set(keyOf(holder), holder.entry);
  else apiKeys.set(holder.entry.prefix, holder.entry);
}
