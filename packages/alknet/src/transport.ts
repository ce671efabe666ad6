/**
 * Settings of the QUIC engine, for the node and for commands.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import type { TransportOptions } from "@alknet/quic/transport-options";

/**
 * What the configuration says, and datagrams that grow to what the path carries: on loopback and in networks with
 * jumbo frames that doubles bulk transfers. Elsewhere the first larger probe is lost, and that is all.
 */
export function transportOf({ quic: { congestion } }: Config): TransportOptions {
  return { congestion, mtuUpperBound: 6_400 };
}
