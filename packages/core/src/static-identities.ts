/**
 * Identities from lists in memory, such as those of the configuration.
 *
 * @module
 */

import type { IdentityProvider } from "./access.ts";
import { type ApiKeyEntry, parseApiKey } from "./api-key.ts";
import { IdentityIndex, type IdentityIndexOptions } from "./identity-index.ts";
import { parsePeer, type PeerEntry } from "./peers.ts";

/** Identities that are replaced as a whole. */
export interface StaticIdentities extends IdentityProvider, Disposable {
  readonly peers: readonly PeerEntry[];
  readonly apiKeys: readonly ApiKeyEntry[];
  /**
   * Put these in the place of all that was, then tell the followers.
   *
   * @throws {PeerError} if they do not hold together; all stays as it was then.
   */
  replace(peers: readonly PeerEntry[], apiKeys?: readonly ApiKeyEntry[]): void;
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
  const replace: StaticIdentities["replace"] = (next, apiKeys = []) => {
    const builder = index.rebuild();
    for (const entry of next) builder.peer(parsePeer(entry));
    for (const entry of apiKeys) builder.apiKey(parseApiKey(entry));
    if (builder.conflict !== undefined) throw builder.conflict;
    builder.swap();
  };
  replace(peers, options.apiKeys);
  return {
    get peers() {
      return index.peers;
    },
    get apiKeys() {
      return index.apiKeys;
    },
    resolveFingerprint: (fingerprint) => index.resolveFingerprint(fingerprint),
    resolveToken: (token) => index.resolveToken(token),
    subscribe: (listener) => index.subscribe(listener),
    replace,
    [Symbol.dispose]: () => index[Symbol.dispose](),
  };
}
