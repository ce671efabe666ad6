/**
 * Peers: stable names, each with any number of keys and the rights of whoever holds one.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import type { Identity, IdentityProvider } from "./access.ts";
import { parseFingerprint } from "./fingerprint.ts";
import { formatHostPort, parseHostPort } from "./host.ts";
import { parseScope } from "./scope.ts";

export interface PeerEntry {
  /** Stable name; rights and references name it, never a key. */
  readonly peerId: string;
  /** Keys of this peer; any of them is enough. */
  readonly fingerprints: readonly string[];
  readonly scopes: readonly string[];
  /** `false`: known, and let in by nothing. */
  readonly enabled: boolean;
  readonly displayName?: string | undefined;
  /** Where to dial it, `host:port`. */
  readonly addresses?: readonly string[] | undefined;
  readonly resources?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Bearer token of this peer: `sha256:` and 64 hex digits, over the token's bytes. */
  readonly tokenHash?: string | undefined;
}

/** Identities from a list in memory, replaced as a whole. */
export interface StaticIdentities extends IdentityProvider {
  readonly peers: readonly PeerEntry[];
  /**
   * Put `peers` in the place of all that was, then tell the subscribers.
   *
   * @throws {PeerError} if they do not hold together; all stays as it was then.
   */
  replace(peers: readonly PeerEntry[]): void;
}

/** Port that an address without one means. */
export const DEFAULT_PORT: number = 7433;

/** Most fingerprints, scopes and addresses of one peer. */
export const MAX_PER_PEER: number = 1_024;

/** Longest token looked at, in bytes. */
const MAX_TOKEN = 4_096;

/** A peer, or the list of them, is not as it has to be. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly code: "PEER_INVALID" | "DUPLICATE_PEER_ID" | "DUPLICATE_FINGERPRINT" | "DUPLICATE_TOKEN";
  readonly peerId: string;
  /** Which field is at fault, and where it is a list which entry of it. */
  readonly field: readonly [keyof PeerEntry, number?];

  constructor(
    code: PeerError["code"],
    peerId: string,
    field: PeerError["field"],
    text: string,
    options?: ErrorOptions,
  ) {
    super(`cannot use peer ${JSON.stringify(peerId.slice(0, 100))}: ${text}`, options);
    this.code = code;
    this.peerId = peerId;
    this.field = field;
  }
}

/**
 * Identities of a fixed list of peers.
 *
 * @throws {PeerError} if an entry is malformed, or two of them share a name or, both enabled, a key.
 */
export function staticIdentities(peers: readonly PeerEntry[]): StaticIdentities {
  let snapshot = build(peers, undefined);
  const listeners = new Set<() => void>();
  return {
    get peers() {
      return snapshot.peers;
    },
    resolveFingerprint: (fingerprint) => snapshot.byFingerprint.get(fingerprint),
    resolveToken(token) {
      if (token.length > MAX_TOKEN) return undefined;
      const digest = createHash("sha256").update(token).digest();
      const found = snapshot.byToken.get(digest.toString("hex"));
      // The look-up is by hash, which tells nothing about the token; the decision is constant in time.
      return found !== undefined && timingSafeEqual(found.digest, digest)
        ? found.identity
        : undefined;
    },
    subscribe(listener) {
      // One entry per subscription, also when a function subscribes twice.
      const entry = (): void => listener();
      listeners.add(entry);
      return () => listeners.delete(entry);
    },
    replace(next) {
      snapshot = build(next, snapshot);
      const errors: unknown[] = [];
      for (const listener of listeners) {
        try {
          listener();
        } catch (error) {
          errors.push(error);
        }
      }
      // Only now: everybody else had to be told first.
      if (errors.length > 0)
        throw new AggregateError(errors, "cannot tell all who follow the peers");
    },
  };
}

/**
 * Check one entry, and bring its addresses into normal form.
 *
 * @throws {PeerError}
 */
export function parsePeer(entry: PeerEntry): PeerEntry {
  const { peerId, fingerprints, scopes, addresses = [] } = entry;
  const check = <T>(
    field: "fingerprints" | "scopes" | "addresses",
    texts: readonly string[],
    parse: (text: string) => T,
  ): T[] => {
    if (texts.length > MAX_PER_PEER) {
      throw new PeerError("PEER_INVALID", peerId, [field], `more than ${MAX_PER_PEER} ${field}`);
    }
    return texts.map((text, index) => {
      try {
        return parse(text);
      } catch (error) {
        const { message } = error as Error;
        throw new PeerError("PEER_INVALID", peerId, [field, index], message, { cause: error });
      }
    });
  };
  if (!isPeerName(peerId)) {
    const expected = 'expected 1 to 64 letters, digits, ".", "_", "-", a letter or digit first';
    throw new PeerError("PEER_INVALID", peerId, ["peerId"], expected);
  }
  if (peerId.toLowerCase() === "owner") {
    throw new PeerError(
      "PEER_INVALID",
      peerId,
      ["peerId"],
      "the name is that of this node's owner",
    );
  }
  if (entry.tokenHash !== undefined && !/^sha256:[0-9a-f]{64}$/.test(entry.tokenHash)) {
    const expected = 'expected "sha256:" and 64 lower-case hex digits';
    throw new PeerError("PEER_INVALID", peerId, ["tokenHash"], expected);
  }
  check("scopes", scopes, parseScope);
  return Object.freeze({
    ...entry,
    fingerprints: Object.freeze(check("fingerprints", fingerprints, parseFingerprint)),
    scopes: Object.freeze([...scopes]),
    addresses: Object.freeze(
      check("addresses", addresses, (text) => formatHostPort(parseHostPort(text, DEFAULT_PORT))),
    ),
    resources: frozenResources(entry.resources),
  });
}

/** Whether `text` can be the name of a peer: 1 to 64 letters, digits, `.`, `_`, `-`. */
export function isPeerName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

/** All that decisions look at, as one value. */
interface Snapshot {
  readonly peers: readonly PeerEntry[];
  readonly byFingerprint: ReadonlyMap<string, Identity>;
  readonly byToken: ReadonlyMap<string, { readonly digest: Buffer; readonly identity: Identity }>;
  readonly byId: ReadonlyMap<string, Identity>;
}

function build(entries: readonly PeerEntry[], before: Snapshot | undefined): Snapshot {
  const peers = Object.freeze(entries.map(parsePeer));
  const byFingerprint = new Map<string, Identity>();
  const byToken = new Map<string, { digest: Buffer; identity: Identity }>();
  const byId = new Map<string, Identity>();
  const names = new Set<string>();
  for (const peer of peers) {
    const { peerId } = peer;
    // People type them in any case, and host names made of them have none.
    if (names.has(peerId.toLowerCase())) {
      const text = "there is another of that name (upper and lower case count as one)";
      throw new PeerError("DUPLICATE_PEER_ID", peerId, ["peerId"], text);
    }
    names.add(peerId.toLowerCase());
    if (!peer.enabled) continue;
    const identity = identityOf(peer, before?.byId.get(peerId));
    byId.set(peerId, identity);
    for (const [index, fingerprint] of peer.fingerprints.entries()) {
      const other = byFingerprint.get(fingerprint);
      if (other !== undefined && other !== identity) {
        const text = `its key ${fingerprint} is also a key of ${JSON.stringify(other.id)}`;
        throw new PeerError("DUPLICATE_FINGERPRINT", peerId, ["fingerprints", index], text);
      }
      byFingerprint.set(fingerprint, identity);
    }
    if (peer.tokenHash === undefined) continue;
    const hash = peer.tokenHash.slice("sha256:".length);
    if (byToken.has(hash)) {
      const text = "its token is also the token of another peer";
      throw new PeerError("DUPLICATE_TOKEN", peerId, ["tokenHash"], text);
    }
    byToken.set(hash, { digest: Buffer.from(hash, "hex"), identity });
  }
  return Object.freeze({ peers, byFingerprint, byToken, byId });
}

/** The identity of before if nothing in it has changed: then nobody has to look at their grants. */
function identityOf(peer: PeerEntry, before: Identity | undefined): Identity {
  const identity: Identity = {
    id: peer.peerId,
    scopes: peer.scopes,
    resources: peer.resources ?? {},
    ...(peer.displayName === undefined ? {} : { displayName: peer.displayName }),
  };
  if (before !== undefined && JSON.stringify(before) === JSON.stringify(identity)) return before;
  return Object.freeze(identity);
}

function frozenResources(
  resources: PeerEntry["resources"],
): Readonly<Record<string, readonly string[]>> {
  const entries = Object.entries(resources ?? {}).map(
    ([name, values]) => [name, Object.freeze([...values])] as const,
  );
  return Object.freeze(Object.fromEntries(entries));
}
