/**
 * The keys of the hub's example, all in one folder so that its processes know each other. In earnest each machine
 * keeps its own, and is told the fingerprints of the others.
 *
 * @module
 */

import { join } from "node:path";
import { type NodeIdentity, loadOrCreateIdentity } from "@alknet/core/identity-file";
import type { PeerEntry } from "@alknet/core/peers";

/** The key of `name`; made when it is first asked for. */
export function keyOf(folder: string, name: string): NodeIdentity {
  return loadOrCreateIdentity(join(folder, `${name}.pem`));
}

/** The peer `name`, and what it may do. */
export function peer(folder: string, name: string, scopes: string[]): PeerEntry {
  return { peerId: name, fingerprints: [keyOf(folder, name).fingerprint], scopes, enabled: true };
}
