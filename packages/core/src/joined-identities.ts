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
import { type ApiKeyEntry, hashToken, MAX_TOKEN } from "./api-key.ts";
import type { IdentityProblem } from "./identity-holder.ts";
import type { PeerEntry } from "./peers.ts";

/** A source: static identities, or a store. */
export interface IdentitySource extends IdentityProvider {
  /** Another array after any change, of API keys too. */
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

interface Kept {
  /** As of which peers. */
  readonly of: readonly PeerEntry[];
  readonly keys: ReadonlySet<string>;
  /** Hashes. */
  readonly tokens: ReadonlySet<string>;
}

const NO_PEERS: readonly PeerEntry[] = [];
const NO_KEYS: ReadonlySet<string> = new Set();

/** Join `sources`, the weightiest first. */
export function joinIdentities(sources: readonly IdentitySource[]): JoinedIdentities {
  const peersOf = sources.map(({ peers }) => peers);
  let joined: readonly PeerEntry[] | undefined;

  /** Whether a source before the one at `index` has the name. */
  function isShadowed(id: string, index: number): boolean {
    return sources.slice(0, index).some((source) => source.peer(id) !== undefined);
  }

  /** What no later source can give: of peers that are disabled, of API keys whether expired or not. */
  const kept = sources.map((): Kept => ({ of: NO_PEERS, keys: NO_KEYS, tokens: NO_KEYS }));
  function keptBy(index: number): Kept {
    const source = sources[index]!;
    const { peers } = source;
    // Another array after any change, of API keys too.
    if (kept[index]!.of === peers) return kept[index]!;
    const disabled = peers.filter(({ enabled }) => !enabled);
    const keys = new Set(disabled.flatMap(({ fingerprints }) => fingerprints));
    const tokens = new Set([
      ...disabled.flatMap(({ tokenHash }) => tokenHash ?? []),
      ...source.apiKeys.map(({ hash }) => hash),
    ]);
    return (kept[index] = { of: peers, keys, tokens });
  }

  function resolve(
    look: (source: IdentitySource) => Identity | undefined,
    isKept: (index: number) => boolean,
  ): Identity | undefined {
    for (const [index, source] of sources.entries()) {
      const found = look(source);
      if (found !== undefined) return isShadowed(found.id, index) ? undefined : found;
      if (index < sources.length - 1 && isKept(index)) return undefined;
    }
    return undefined;
  }

  return {
    resolveFingerprint: (fingerprint) =>
      resolve(
        (it) => it.resolveFingerprint(fingerprint),
        (index) => keptBy(index).keys.has(fingerprint),
      ),
    resolveToken: (token) =>
      resolve(
        (it) => it.resolveToken(token),
        (index) => {
          const { tokens } = keptBy(index);
          return tokens.size > 0 && token.length <= MAX_TOKEN && tokens.has(hashToken(token));
        },
      ),
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
