/**
 * The one way of a call through a node, as its parts see it: layers of operations, and what runs them.
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import type { Logger } from "@alknet/core/log";
import type { CallContext } from "./operation-context.ts";
import type { OwnershipProvider } from "./ownership.ts";
import type { OperationLayer, Registration } from "./registry.ts";

/** Operations of the peers that are connected; see `call-peers.ts`. */
export interface PeerLayers {
  /** Peers in the order in which they came. */
  ids(): string[];
  at(peer: string): OperationLayer | undefined;
  /** Of `first` if it has the name, else of the first peer that has. */
  find(name: string, first?: string): Registration | undefined;
  /** Like `find`, among what is offered to callers of this node. */
  findExposed(name: string): Registration | undefined;
}

export interface Spine {
  readonly ownership: OwnershipProvider | undefined;
  readonly peers: PeerLayers | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What `name` is to a handler that composes. */
  find(name: string, context: CallContext): Registration | undefined;
  /** Validate, and run the handler. Returns the output, a promise of it, or a stream; throws `CallError`. */
  execute(context: CallContext, input: unknown): unknown;
}
