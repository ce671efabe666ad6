/**
 * Settings of the QUIC engine, for the node and for commands.
 *
 * @module
 */

import type { TransportOptions } from "@alknet/quic/endpoint";

/**
 * Datagrams grow to what the path carries: on loopback and in networks with jumbo frames that doubles bulk
 * transfers. Elsewhere the first larger probe is lost, and that is all.
 */
export const transport: TransportOptions = { mtuUpperBound: 6_400 };
