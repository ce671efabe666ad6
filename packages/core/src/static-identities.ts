/**
 * Identities from lists in memory, such as those of the configuration.
 *
 * @module
 */

import type { Cut, IdentityProvider } from "./access.ts";
import { type ApiKeyEntry, parseApiKey } from "./api-key.ts";
import type { IdentityProblem } from "./identity-holder.ts";
import { IdentityIndex, type IdentityIndexOptions } from "./identity-index.ts";
import { parsePeer, type PeerEntry } from "./peers.ts";
import type { Roles } from "./scope-entry.ts";

/** Identities that are replaced as a whole. */
export interface StaticIdentities extends IdentityProvider, Disposable {
  readonly peers: readonly PeerEntry[];
  readonly apiKeys: readonly ApiKeyEntry[];
  /** Roles that are not defined. */
  readonly problems: readonly IdentityProblem[];
  /** Upper and lower case count as one. */
  peer(peerId: string): PeerEntry | undefined;
  /** Use other roles from now on. */
  setRoles(roles: Roles): Cut;
  /**
   * Put these in the place of all that was, then tell the followers.
   *
   * @param roles to be used from then on, so that a right which moves from a peer into its role stays in use.
   * @returns what it has ended.
   * @throws {PeerError} if they do not hold together; all stays as it was then.
   */
  replace(peers: readonly PeerEntry[], apiKeys?: readonly ApiKeyEntry[], roles?: Roles): Cut;
}

/**
 * Identities of fixed lists.
 *
 * @throws {PeerError} if an entry is malformed, or two of them share a name or, both enabled, a key.
 */
export function staticIdentities(
  peers: readonly PeerEntry[],
  options: IdentityIndexOptions & { readonly apiKeys?: readonly ApiKeyEntry[] | undefined } = {},
): StaticIdentities {
  const index = new IdentityIndex(options);
  const replace: StaticIdentities["replace"] = (next, apiKeys = [], roles) => {
    const builder = index.rebuild(roles);
    for (const entry of next) builder.peer(parsePeer(entry));
    for (const entry of apiKeys) builder.apiKey(parseApiKey(entry));
    if (builder.conflict !== undefined) throw builder.conflict;
    return builder.swap();
  };
  replace(peers, options.apiKeys);
  return {
    get peers() {
      return index.peers;
    },
    get apiKeys() {
      return index.apiKeys;
    },
    get problems() {
      return index.problems;
    },
    peer: (peerId) => index.peer(peerId),
    setRoles: (roles) => index.setRoles(roles),
    resolveFingerprint: (fingerprint) => index.resolveFingerprint(fingerprint),
    resolveToken: (token) => index.resolveToken(token),
    subscribe: (listener) => index.subscribe(listener),
    replace,
    [Symbol.dispose]: () => index[Symbol.dispose](),
  };
}
