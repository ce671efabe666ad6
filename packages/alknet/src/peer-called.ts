/**
 * Peers by their names, as `ssh` has them too.
 *
 * @module
 */

import { isPeerName, type PeerEntry } from "@alknet/core/peers";
import { noSuchPeer } from "@alknet/core/target";
import { SUFFIX } from "./known-hosts.ts";

/**
 * The name of the peer that `host` means; upper and lower case count as one.
 *
 * @returns `undefined` if it is no name.
 * @throws {DialError} `PEER_UNKNOWN`
 */
export function peerCalled(host: string, peers: readonly PeerEntry[]): string | undefined {
  const isAlk = host.toLowerCase().endsWith(SUFFIX);
  const name = (isAlk ? host.slice(0, -SUFFIX.length) : host).toLowerCase();
  const names = peers.map(({ peerId }) => peerId);
  const found = names.find((each) => each.toLowerCase() === name);
  if (found !== undefined || (!isAlk && !isPeerName(host))) return found;
  throw noSuchPeer(name, peers, (near) => (isAlk ? `${near}${SUFFIX}` : near));
}
