/**
 * The operations of the peers that are connected, as a node looks them up; see `call-peers.ts`.
 *
 * @module
 */

import type { OperationLayer, Registration } from "./registry.ts";

export interface PeerLayers {
  /** Peers in the order in which they came. */
  ids(): string[];
  at(peer: string): OperationLayer | undefined;
  /** Of `first` if it has the name, else of the first peer that has. */
  find(name: string, first?: string): Registration | undefined;
  /** Like `find`, among what is offered to callers of this node. */
  findExposed(name: string): Registration | undefined;
}
