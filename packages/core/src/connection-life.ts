/**
 * What the connections of all transports share: who they belong to, that they drain, and that they end once.
 *
 * @module
 */

import { createHash } from "node:crypto";
import {
  authenticate,
  type AuthContext,
  type Credential,
  type IdentityProvider,
  type OwnedAuthContext,
} from "./access.ts";
import { CloseCode, closeCodeName } from "./close-code.ts";
import { type CloseReason, ConnectionClosed } from "./connection.ts";
import { withoutStack } from "./without-stack.ts";

/** Who a connection belongs to, and who knows further credentials. */
export interface ConnectionOwner {
  /** The connection disposes it at its end. */
  readonly auth: OwnedAuthContext;
  /** Who knows the credentials given to `authenticate()`; without it nobody does. */
  readonly identities?: IdentityProvider | undefined;
}

/** Most further identities on one connection. */
const MAX_FURTHER = 64;

/** Longest text of a peer that is kept, in bytes. */
const MAX_REASON = 256;

/** The part of a connection that knows no transport. */
export class ConnectionLife {
  readonly auth: AuthContext;
  readonly #owned: OwnedAuthContext;
  readonly #identities: IdentityProvider | undefined;
  readonly #abort: (code: number, reason: string) => void;
  /** Further identities, from the first on. */
  #further: Map<string, OwnedAuthContext> | undefined;
  /** Made when somebody looks at it: most connections end without having drained. */
  #draining: AbortController | undefined;
  readonly #closed = Promise.withResolvers<CloseReason>();
  /** Made when somebody asks: on the serving side nobody does. */
  #accepted: PromiseWithResolvers<void> | undefined;
  #isAccepted = false;
  #reason: CloseReason | undefined;

  /** @param abort ends the connection at once: called when an identity that it stands on is revoked. */
  constructor(owner: ConnectionOwner, abort: (code: number, reason: string) => void) {
    this.auth = this.#owned = owner.auth;
    this.#identities = owner.identities;
    this.#abort = abort;
    this.#follow(owner.auth);
  }

  /** How it ended; `undefined` while it has not. */
  get reason(): CloseReason | undefined {
    return this.#reason;
  }

  get closed(): Promise<CloseReason> {
    return this.#closed.promise;
  }

  get accepted(): Promise<void> {
    if (this.#accepted === undefined) {
      this.#accepted = Promise.withResolvers<void>();
      // Whoever asks and does not wait shall not be told by a crash.
      this.#accepted.promise.catch(() => {});
      if (this.#isAccepted) this.#accepted.resolve();
      else if (this.#reason !== undefined) this.#accepted.reject(refusedBy(this.#reason));
    }
    return this.#accepted.promise;
  }

  get draining(): AbortSignal {
    return (this.#draining ??= new AbortController()).signal;
  }

  /** The peer has spoken, or is not asked: this is the serving side. */
  accept(): void {
    this.#isAccepted = true;
    this.#accepted?.resolve();
  }

  drain(): void {
    if (this.draining.aborted) return;
    this.#draining?.abort(new DOMException("the connection is draining", "AbortError"));
  }

  /** It has ended. @returns whether this was the first to say so. */
  end(reason: CloseReason): boolean {
    if (this.#reason !== undefined) return false;
    this.#reason = reason;
    if (!this.#isAccepted) this.#accepted?.reject(refusedBy(reason));
    this.#closed.resolve(reason);
    this.#owned[Symbol.dispose]();
    for (const context of this.#further?.values() ?? []) context[Symbol.dispose]();
    this.#further = undefined;
    return true;
  }

  authenticate(credential: Credential): AuthContext | undefined {
    if (this.#identities === undefined || this.#reason !== undefined) return undefined;
    const key = keyOf(credential);
    const further = (this.#further ??= new Map<string, OwnedAuthContext>());
    const known = further.get(key);
    if (known !== undefined) return known;
    if (further.size === MAX_FURTHER) {
      throw Object.assign(
        new Error(`cannot add an identity to this connection: it has ${MAX_FURTHER}`),
        { code: "LIMIT" },
      );
    }
    const context = authenticate(this.#identities, credential);
    if (context.peer === undefined) {
      context[Symbol.dispose]();
      return undefined;
    }
    further.set(key, context);
    this.#follow(context);
    return context;
  }

  /** A key that is taken back ends the connections that stand on it, whatever they are doing. */
  #follow(auth: OwnedAuthContext): void {
    if (auth.peer === undefined) return;
    auth.followRevocation(() => this.#abort(CloseCode.REVOKED, "access revoked"));
  }
}

function refusedBy(reason: CloseReason): ConnectionClosed {
  return withoutStack(() => new ConnectionClosed(reason));
}

/** Names a credential without keeping a token. */
function keyOf(credential: Credential): string {
  return credential.kind === "fingerprint"
    ? credential.fingerprint
    : `token ${createHash("sha256").update(credential.token).digest("hex")}`;
}

/** We ended it. */
export function localReason(code: number, reason: string = ""): CloseReason {
  return { by: "local", code, name: closeCodeName(code) ?? "UNKNOWN", reason };
}

/** The peer ended it, and said how. */
export function peerReason(code: number, reason: string): CloseReason {
  return { by: "peer", code, name: closeCodeName(code) ?? "UNKNOWN", reason: foreignText(reason) };
}

/** The transport ended it. */
export function transportReason(name: string, reason: string): CloseReason {
  return { by: "transport", code: undefined, name, reason: foreignText(reason) };
}

/** Words of a peer, made fit for a log line. */
export function foreignText(text: string): string {
  // More than enough for 256 bytes, and little enough to look through.
  // oxlint-disable-next-line no-control-regex
  const clean = text.slice(0, MAX_REASON).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
  const bytes = Buffer.from(clean);
  if (bytes.length <= MAX_REASON) return clean;
  let end = MAX_REASON;
  // Not in the middle of a character: 0b10xxxxxx continues one.
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
