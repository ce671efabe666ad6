/**
 * The operations of peers, for as long as they are connected: what makes a node a hub.
 *
 * Each connection has a layer of its own, so that two peers may have operations of one name, and the end of one
 * takes away exactly its own. The first peer that came is asked first.
 *
 * @module
 */

import { fromCall, type ImportOptions } from "./from-call.ts";
import type { PeerLayers } from "./peer-layers.ts";
import type { OperationLayer, Registration } from "./registry.ts";
import type { CallSession } from "./session.ts";

export interface CallPeers extends PeerLayers {
  /**
   * Import the operations of `peer` from a session with it, and keep them until it closes. Of several sessions
   * with one peer the newest is asked.
   *
   * @throws {AdapterError} if they cannot be imported; nothing has changed then.
   */
  attach(peer: string, session: CallSession, options?: ImportOptions): Promise<void>;
}

/** Peers whose operations can be composed, and offered. None at first. */
export function createCallPeers(): CallPeers {
  /** Layers by peer, oldest first. */
  const peers = new Map<string, OperationLayer[]>();

  function detach(peer: string, layer: OperationLayer): void {
    const layers = peers.get(peer) ?? [];
    const rest = layers.filter((it) => it !== layer);
    if (rest.length === 0) peers.delete(peer);
    else peers.set(peer, rest);
  }

  function find(matches: (layer: OperationLayer) => Registration | undefined) {
    for (const layers of peers.values()) {
      const found = matches(layers.at(-1)!);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  return {
    ids: () => [...peers.keys()],
    at: (peer) => peers.get(peer)?.at(-1),
    find: (name, first) =>
      (first === undefined ? undefined : peers.get(first)?.at(-1)?.find(name)) ??
      find((layer) => layer.find(name)),
    findExposed: (name) =>
      find((layer) => {
        const found = layer.find(name);
        return found?.internal === false ? found : undefined;
      }),
    async attach(peer, session, options) {
      const layer = importedLayer(await fromCall(session, options));
      peers.set(peer, [...(peers.get(peer) ?? []), layer]);
      void session.closed.then(() => detach(peer, layer));
    },
  };
}

function importedLayer(registrations: readonly Registration[]): OperationLayer {
  const byName = new Map(registrations.map((it) => [it.operation.name, it]));
  return { find: (name) => byName.get(name), registrations: () => byName.values() };
}
