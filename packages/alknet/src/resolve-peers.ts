/**
 * Peers' names as host names, for what is dialed by way of this node: `ssh -J gate.alk -p 2222 laptop.alk`.
 *
 * @module
 */

import { parseHostPort } from "@alknet/core/host";
import { parseIp } from "@alknet/core/ip-address";
import { DEFAULT_PORT, type PeerEntry } from "@alknet/core/peers";
import type { Resolve } from "@alknet/tunnel/granted-addresses";
import { SUFFIX } from "./known-hosts.ts";

/**
 * Have `NAME.alk` mean the addresses of that peer; all else is for `resolve`. Of names that do not resolve nothing is
 * said, as long as one address is known.
 */
export function resolvePeers(peers: () => readonly PeerEntry[], resolve: Resolve): Resolve {
  return async (host) => {
    if (!host.endsWith(SUFFIX)) return await resolve(host);
    const name = host.slice(0, -SUFFIX.length);
    const peer = peers().find((each) => each.enabled && each.peerId.toLowerCase() === name);
    // Of a name that is nobody's, the machine's resolver says so.
    if (peer === undefined) return await resolve(host);
    const hosts = (peer.addresses ?? []).map((each) => parseHostPort(each, DEFAULT_PORT).host);
    const found = hosts.map(async (each) =>
      parseIp(each) === undefined ? await resolve(each) : [each],
    );
    const ended = await Promise.allSettled(found);
    const known = ended.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
    // Then this fails, as that one has.
    if (known.length === 0) await Promise.all(found);
    return [...new Set(known)];
  };
}
