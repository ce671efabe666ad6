/**
 * How many of something each peer has, over all its connections.
 *
 * @module
 */

/**
 * Count one more of `peer`.
 *
 * @returns how to count it no longer, which may be called twice; `undefined`: it has `max` already.
 */
export type PeerCount = (peer: string, max: number) => (() => void) | undefined;

export function peerCount(): PeerCount {
  const counts = new Map<string, number>();
  return (peer, max) => {
    const before = counts.get(peer) ?? 0;
    if (before >= max) return undefined;
    counts.set(peer, before + 1);
    let isCounted = true;
    return () => {
      if (!isCounted) return;
      isCounted = false;
      const left = (counts.get(peer) ?? 1) - 1;
      if (left === 0) counts.delete(peer);
      else counts.set(peer, left);
    };
  };
}
