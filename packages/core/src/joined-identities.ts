/**
 * Several sources of identities as one: those of the configuration, and those of a store.
 *
 * A name or a key belongs to the first source that has it, whether enabled there or not; what a later one
 * says of it is a problem and counts for nothing. So what stands in the configuration cannot be undone, nor
 * taken over, by a row in a database.
 *
 * @module
 */

import type { Cut, Identity, IdentityProvider } from "./access.ts";
import type { ApiKeyEntry } from "./api-key.ts";
import type { IdentityProblem } from "./identity-index.ts";
import type { PeerEntry } from "./peers.ts";

/** A source: static identities, or a store. */
export interface IdentitySource extends IdentityProvider {
  readonly peers: readonly PeerEntry[];
  readonly apiKeys: readonly ApiKeyEntry[];
  /** Upper and lower case count as one. */
  peer(peerId: string): PeerEntry | undefined;
  readonly problems?: readonly IdentityProblem[] | undefined;
}

export interface JoinedIdentities extends IdentityProvider {
  /** All that count. The same array until something changes. */
  readonly peers: readonly PeerEntry[];
  readonly problems: readonly IdentityProblem[];
  /** Upper and lower case count as one. */
  peer(peerId: string): PeerEntry | undefined;
}

/** Join `sources`, the weightiest first. */
export function joinIdentities(sources: readonly IdentitySource[]): JoinedIdentities {
  const peersOf = sources.map(({ peers }) => peers);
  let joined: readonly PeerEntry[] | undefined;

  /** Whether a source before the one at `index` has the name. */
  function isShadowed(id: string, index: number): boolean {
    return sources.slice(0, index).some((source) => source.peer(id) !== undefined);
  }

  function resolve(look: (source: IdentitySource) => Identity | undefined): Identity | undefined {
    for (const [index, source] of sources.entries()) {
      const found = look(source);
      if (found !== undefined) return isShadowed(found.id, index) ? undefined : found;
    }
    return undefined;
  }

  return {
    resolveFingerprint: (fingerprint) => resolve((it) => it.resolveFingerprint(fingerprint)),
    resolveToken: (token) => resolve((it) => it.resolveToken(token)),
    subscribe(listener: (cut: Cut) => void) {
      const stops = sources.map((source) => source.subscribe(listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
    get peers() {
      for (const [index, { peers }] of sources.entries()) {
        if (peersOf[index] === peers) continue;
        peersOf[index] = peers;
        joined = undefined;
      }
      return (joined ??= Object.freeze(
        sources.flatMap(({ peers }, index) =>
          index === 0 ? peers : peers.filter(({ peerId }) => !isShadowed(peerId, index)),
        ),
      ));
    },
    get problems() {
      return sources.flatMap((source, index) => [
        ...(source.problems ?? []),
        ...(index === 0 ? [] : shadowed(source, index)),
      ]);
    },
    peer(peerId) {
      for (const source of sources) {
        const found = source.peer(peerId);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };

  function shadowed(source: IdentitySource, index: number): IdentityProblem[] {
    // From the other side: the configuration has few peers, a store may have many.
    return sources.slice(0, index).flatMap((before) =>
      before.peers.flatMap(({ peerId }) => {
        if (source.peer(peerId) === undefined) return [];
        const message = "counts for nothing: there is a peer of that name in the configuration";
        return [{ subject: `peer ${peerId}`, message }];
      }),
    );
  }
}
