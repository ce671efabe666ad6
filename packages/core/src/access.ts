/**
 * Who a connection belongs to, and what they may do right now.
 *
 * An {@linkcode AuthContext} follows the identities as they change: a key that no longer names the same
 * peer revokes the context, and every {@linkcode Grant} held is checked again, so that taking back a
 * key, a scope or one resource ends exactly the work that it allowed.
 *
 * Pure but for the provider that is handed in; nothing here waits.
 *
 * @module
 */

import { LinkedList, type ListNode } from "./linked-list.ts";
import {
  compileScopes,
  mayPermit,
  neededScope,
  permits,
  type Request,
  requestOf,
  type Resource,
  type Rights,
} from "./scope.ts";

export type { Resource } from "./scope.ts";

/** A peer, as decisions see it. Frozen; a change makes a new one. */
export interface Identity {
  /** The stable `peer_id`; it survives the rotation of keys. */
  readonly id: string;
  readonly scopes: readonly string[];
  readonly resources: Readonly<Record<string, readonly string[]>>;
  readonly displayName?: string | undefined;
}

/** What a connection proved: possession of a key (the handshake did the proof), or of a token. */
export type Credential =
  | { readonly kind: "fingerprint"; readonly fingerprint: string }
  | { readonly kind: "token"; readonly token: Uint8Array };

/** Identities in memory. Synchronous, because it is asked on every accept. */
export interface IdentityProvider {
  resolveFingerprint(fingerprint: string): Identity | undefined;
  resolveToken(token: Uint8Array): Identity | undefined;
  /**
   * Have `listener` called after each replacement of the snapshot; it adds to the tally what it ends.
   *
   * @returns how to stop it.
   */
  subscribe(listener: (cut: Cut) => void): () => void;
}

/** What a change of identities or rights has ended. */
export interface Cut {
  /** Identities of connections: each ends its connection. */
  connections: number;
  /** Rights in use; what they allowed ends, and the connection goes on. */
  grants: number;
}

/** A right in use. Dispose it when the work is done. */
export interface Grant extends Disposable {
  readonly action: string;
  /** Aborts with {@linkcode AccessRevoked} when the right is gone. Made on first use. */
  readonly signal: AbortSignal;
  /**
   * Have `listener`, of which there is one, called when the right is gone, before all who listen at `signal`;
   * soon if it is. For work that is shorter than the 10 µs that a signal takes to make.
   */
  followRevocation(listener: (reason: AccessRevoked) => void): void;
}

export interface AuthContext {
  /** `undefined`: nobody we know. Follows changes of the peer's rights; its `id` never changes. */
  readonly peer: Identity | undefined;
  /** Of the proven key, known or not. */
  readonly fingerprint: string | undefined;
  /** Aborts with {@linkcode AccessRevoked} when this identity no longer stands. Made on first use. */
  readonly revoked: AbortSignal;
  /**
   * Take a right, and hold it while the work lasts.
   *
   * For `tunnel:*` the resource names one candidate address, the one that is connected to; without
   * `address` only a host that is an address itself, or `localhost`, can be granted.
   *
   * @param action `service:action`; or both as `parseRequest` has read them, for who asks on every call.
   * @throws {AccessDenied} if no scope covers it.
   * @throws {AccessRevoked} if this identity no longer stands.
   * @throws {TypeError} if `action` or the kind of `resource` is a mistake of the calling code.
   */
  grant(action: string | Request, resource?: Resource): Grant;
  /**
   * Take a right that is no scope, such as an entry of the peer's `resources`, and hold it while the work lasts.
   *
   * @param right names it, in messages and as the grant's `action`.
   * @param stands whether the peer has it: asked now, and again after every change. It must not throw.
   * @throws {AccessDenied | AccessRevoked} as `grant`.
   */
  hold(right: string, stands: (peer: Identity) => boolean): Grant;
  /**
   * For filtering lists, and for refusing early: never the check before an act. A host without
   * `address` is allowed if some address of it would be.
   */
  allows(action: string | Request, resource?: Resource): boolean;
}

/** A context and its subscription; the connection that owns it disposes it at its end. */
export interface OwnedAuthContext extends AuthContext, Disposable {
  /**
   * Have `listener`, of which there is one, called when `revoked` aborts, before all who listen there; soon
   * if it has. Most connections end without anybody having asked for that signal, which takes 10 µs to make.
   */
  followRevocation(listener: () => void): void;
}

/** No scope of the peer covers what was asked. */
export class AccessDenied extends Error {
  override readonly name = "AccessDenied";
  readonly code = "ACCESS_DENIED";
  readonly action: string;
  /** `not a peer`, `lacks ssh:shell`, …: names no target, so that it may be logged. */
  readonly reason: string;
  // Private, and so not enumerable: loggers write out the properties of an error.
  readonly #missing: string;

  constructor(action: string, reason: string, missing: string, options?: ErrorOptions) {
    super(`access denied: ${reason}`, options);
    this.action = action;
    this.reason = reason;
    this.#missing = missing;
  }

  /** The scope that would have allowed it, target included: for the peer and the owner, not for logs. */
  get missing(): string {
    return this.#missing;
  }
}

/** The right, or the identity, that this stood on is gone. */
export class AccessRevoked extends Error {
  override readonly name = "AccessRevoked";
  readonly code = "ACCESS_REVOKED";
}

/**
 * Find out who showed `credential`, and follow them until the context is disposed.
 *
 * A credential that nobody is known by is kept: `fingerprint` is visible, `peer` is not there. Such a
 * context stays a stranger's, also when its key becomes known: who was let in connects again.
 */
export function authenticate(
  provider: IdentityProvider,
  credential: Credential | undefined,
): OwnedAuthContext {
  const own = credential === undefined ? undefined : copyOf(credential);
  const identity = own === undefined ? undefined : resolve(provider, own);
  const fingerprint = own?.kind === "fingerprint" ? own.fingerprint : undefined;
  if (own === undefined || identity === undefined) return stranger(fingerprint);
  return new PeerContext(provider, own, identity);
}

const OWNER: Identity = Object.freeze({
  id: "owner",
  scopes: Object.freeze(["*"]),
  resources: Object.freeze({}),
});

/**
 * The owner of this node's folder, calling over its own socket: scope `*`, and nothing excluded from it.
 * Never revoked; no peer can have this identity, whatever it is called.
 */
export function ownerContext(): OwnedAuthContext {
  const { signal: never } = new AbortController();
  return {
    peer: OWNER,
    fingerprint: undefined,
    revoked: never,
    grant(asked, resource) {
      const { action } = requestOf(asked, resource);
      return { action, signal: never, followRevocation() {}, [Symbol.dispose]() {} };
    },
    hold(right) {
      return { action: right, signal: never, followRevocation() {}, [Symbol.dispose]() {} };
    },
    allows(asked, resource) {
      requestOf(asked, resource);
      return true;
    },
    followRevocation() {},
    [Symbol.dispose]() {},
  };
}

function stranger(fingerprint: string | undefined): OwnedAuthContext {
  let never: AbortSignal | undefined;
  return {
    peer: undefined,
    fingerprint,
    get revoked() {
      return (never ??= new AbortController().signal);
    },
    grant(asked, resource) {
      const request = requestOf(asked, resource);
      throw new AccessDenied(request.action, "not a peer", neededScope(request));
    },
    hold(right) {
      throw new AccessDenied(right, "not a peer", right);
    },
    allows(asked, resource) {
      requestOf(asked, resource);
      return false;
    },
    followRevocation() {},
    [Symbol.dispose]() {},
  };
}

class PeerContext implements OwnedAuthContext {
  readonly fingerprint: string | undefined;
  readonly #provider: IdentityProvider;
  readonly #credential: Credential;
  #peer: Identity;
  #revocation = new Revocation();
  /**
   * Rights in use; each is checked again after every change. No set: its tables grow old, and keep those that
   * were deleted from being collected while young. With 64 calls in flight that is 2 µs for each.
   */
  readonly #held = new LinkedList<HeldGrant>();
  #disposed = false;
  #unsubscribe: (() => void) | undefined;

  constructor(provider: IdentityProvider, credential: Credential, peer: Identity) {
    this.#provider = provider;
    this.#credential = credential;
    this.#peer = peer;
    this.fingerprint = credential.kind === "fingerprint" ? credential.fingerprint : undefined;
    this.#unsubscribe = provider.subscribe((cut) => this.#check(cut));
  }

  get peer(): Identity {
    return this.#peer;
  }

  get revoked(): AbortSignal {
    return this.#revocation.signal;
  }

  followRevocation(listener: () => void): void {
    this.#revocation.follow(listener);
  }

  grant(asked: string | Request, resource?: Resource): Grant {
    const request = requestOf(asked, resource);
    this.#checkStanding();
    const rights = rightsOf(this.#peer);
    if (!permits(rights, request)) throw denied(this.#peer, rights, request);
    return this.#hold(request.action, request);
  }

  hold(right: string, stands: (peer: Identity) => boolean): Grant {
    this.#checkStanding();
    if (stands(this.#peer)) return this.#hold(right, stands);
    throw new AccessDenied(right, `${quoted(this.#peer)} lacks ${right}`, right);
  }

  #checkStanding(): void {
    if (this.#revocation.reason !== undefined) throw this.#revocation.reason;
    // Nobody would tell it that it has fallen.
    if (this.#disposed) throw new AccessRevoked("access revoked: the connection has ended");
  }

  #hold(action: string, right: Right): Grant {
    const grant = new HeldGrant(action, right, this.#release);
    grant.place = this.#held.push(grant);
    return grant;
  }

  allows(asked: string | Request, resource?: Resource): boolean {
    const request = requestOf(asked, resource);
    if (this.#revocation.reason !== undefined || this.#disposed) return false;
    return mayPermit(rightsOf(this.#peer), request);
  }

  /** Takes no new grants. Work that still holds one is followed to its end. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#settle();
  }

  /** One function for all grants of a context: there is one for each call of an operation. */
  readonly #release = (grant: HeldGrant): void => {
    this.#drop(grant);
    this.#settle();
  };

  #drop(grant: HeldGrant): void {
    if (grant.place !== undefined) this.#held.remove(grant.place);
    grant.place = undefined;
  }

  /** Called by the provider; must not throw, others are waiting to be told. */
  #check(cut: Cut): void {
    // Told in the same round in which it fell, or by a change made while that is under way.
    if (this.#unsubscribe === undefined || this.#revocation.reason !== undefined) return;
    let identity: Identity | undefined;
    let cause: unknown;
    try {
      identity = resolve(this.#provider, this.#credential);
    } catch (error) {
      // Who cannot be asked for does not stand; and an error here must not keep others from being told.
      cause = error;
    }
    if (identity === this.#peer) return;
    if (identity === undefined || identity.id !== this.#peer.id) {
      const text = `access revoked: the key of ${quoted(this.#peer)} no longer names it`;
      const reason = new AccessRevoked(text, { cause });
      cut.connections++;
      try {
        this.#revocation.revoke(reason);
      } finally {
        // Whoever was told first may have failed: no right outlives that.
        for (const grant of this.#held.toArray()) {
          this.#drop(grant);
          grant.revoke(reason);
        }
        this.#settle();
      }
      return;
    }
    this.#peer = identity;
    const rights = rightsOf(identity);
    for (const grant of this.#held.toArray()) {
      // Given back meanwhile, by who was told before.
      if (grant.place === undefined || grant.stands(identity, rights)) continue;
      this.#drop(grant);
      cut.grants++;
      grant.revoke(
        new AccessRevoked(`access revoked: ${quoted(identity)} no longer has ${grant.action}`),
      );
      // Who was told has changed the identities again: all was looked at since, by what holds now.
      if (this.#peer !== identity) break;
    }
    this.#settle();
  }

  /** Stop following the identities once there is nothing left to tell. */
  #settle(): void {
    const over = this.#disposed || this.#revocation.reason !== undefined;
    if (!over || this.#held.first !== undefined || this.#unsubscribe === undefined) return;
    this.#unsubscribe();
    this.#unsubscribe = undefined;
    // Our copy; the handler's is its own.
    if (this.#credential.kind === "token") this.#credential.token.fill(0);
  }
}

/** What a grant stands on: a scope that covers a request, or what its holder makes of the peer. */
type Right = Request | ((peer: Identity) => boolean);

class HeldGrant implements Grant {
  readonly action: string;
  /** Among those that are held; `undefined` once it is not. */
  place: ListNode<HeldGrant> | undefined;
  readonly #right: Right;
  readonly #release: (grant: HeldGrant) => void;
  /** Made on first use: most grants are over before anybody has looked. */
  #made: Revocation | undefined;

  constructor(action: string, right: Right, release: (grant: HeldGrant) => void) {
    this.action = action;
    this.#right = right;
    this.#release = release;
  }

  get #revocation(): Revocation {
    return (this.#made ??= new Revocation());
  }

  stands(peer: Identity, rights: Rights): boolean {
    const right = this.#right;
    return typeof right === "function" ? right(peer) : permits(rights, right);
  }

  get signal(): AbortSignal {
    return this.#revocation.signal;
  }

  followRevocation(listener: (reason: AccessRevoked) => void): void {
    this.#revocation.follow(listener);
  }

  revoke(reason: AccessRevoked): void {
    try {
      this.#revocation.revoke(reason);
    } catch (error) {
      // As of listeners at a signal: whoever was told has failed, and others are waiting to be told.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  [Symbol.dispose](): void {
    this.#release(this);
  }
}

/** A signal that costs nothing until somebody looks at it. */
class Revocation {
  reason: AccessRevoked | undefined;
  #controller: AbortController | undefined;
  #listener: ((reason: AccessRevoked) => void) | undefined;

  follow(listener: (reason: AccessRevoked) => void): void {
    const { reason } = this;
    if (reason === undefined) this.#listener = listener;
    else queueMicrotask(() => listener(reason));
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.reason !== undefined) this.#controller.abort(this.reason);
    }
    return this.#controller.signal;
  }

  revoke(reason: AccessRevoked): void {
    this.reason = reason;
    try {
      this.#listener?.(reason);
    } finally {
      this.#controller?.abort(reason);
    }
  }
}

/** Rights by identity: compiled once, however many connections a peer has. */
const compiled = new WeakMap<Identity, Rights>();

function rightsOf(identity: Identity): Rights {
  let rights = compiled.get(identity);
  if (rights === undefined) {
    rights = compileScopes(identity.scopes);
    compiled.set(identity, rights);
  }
  return rights;
}

function denied(peer: Identity, rights: Rights, request: Request): AccessDenied {
  const { resource, action } = request;
  const target = resource.kind === "target" ? resource.target : undefined;
  const notes = [
    target?.kind === "invalid" ? target.reason : "",
    // A fault of who asked, if some address would have been granted; else that is not what is missing.
    target?.kind === "unresolved" && mayPermit(rights, request)
      ? "the host was not resolved before it was asked for"
      : "",
    rights.invalid.length > 0 ? `${rights.invalid.length} of its scopes do not parse` : "",
  ].filter((note) => note !== "");
  const why = notes.length > 0 ? ` (${notes.join("; ")})` : "";
  const what = resource.kind === "none" ? action : `${action} for this resource`;
  return new AccessDenied(action, `${quoted(peer)} lacks ${what}${why}`, neededScope(request));
}

function quoted(peer: Identity): string {
  return `peer ${JSON.stringify(peer.id)}`;
}

function resolve(provider: IdentityProvider, credential: Credential): Identity | undefined {
  return credential.kind === "fingerprint"
    ? provider.resolveFingerprint(credential.fingerprint)
    : provider.resolveToken(credential.token);
}

/** A copy that nobody else can change or wipe. */
function copyOf(credential: Credential): Credential {
  if (credential.kind === "fingerprint") {
    return { kind: "fingerprint", fingerprint: credential.fingerprint };
  }
  // A buffer of its own: small typed arrays live in the JavaScript heap, where copies stay behind.
  const token = new Uint8Array(new ArrayBuffer(credential.token.length));
  token.set(credential.token);
  return { kind: "token", token };
}
