/**
 * The datagrams of one connection, shared by its UDP flows.
 *
 * @module
 */

import type { Connection, DatagramChannel } from "@alknet/core/connection";
import { decodeDatagram, encodeFlowPrefix } from "./wire/udp.ts";

/** One flow's share of the datagrams. Disposing ends it; what comes for it then is dropped. */
export interface FlowDatagrams extends Disposable {
  /** Longest packet that fits now, in bytes; it moves with the path. */
  readonly maxSize: number;
  /** @returns false: dropped. */
  send(packet: Uint8Array): boolean;
}

export interface ConnectionDatagrams {
  /** A number that no flow of this connection has. The node that connects for the other gives them out. */
  allocate(): number;
  /** Have `listener` get the packets of `flow`. */
  open(flow: number, listener: (packet: Uint8Array) => void): FlowDatagrams;
}

const known = new WeakMap<Connection, ConnectionDatagrams>();

/** The datagrams of `connection`, which nobody else may listen to. `undefined`: it has none. */
export function connectionDatagrams(connection: Connection): ConnectionDatagrams | undefined {
  const { datagrams } = connection;
  if (datagrams === undefined) return undefined;
  let found = known.get(connection);
  if (found === undefined) {
    found = share(datagrams);
    known.set(connection, found);
  }
  return found;
}

function share(channel: DatagramChannel): ConnectionDatagrams {
  const listeners = new Map<number, (packet: Uint8Array) => void>();
  let next = 0;
  channel.listen((datagram) => {
    const decoded = decodeDatagram(datagram);
    if (decoded !== undefined) listeners.get(decoded.flow)?.(decoded.packet);
  });
  return {
    allocate() {
      // None is used again soon: a datagram that is late must not get into another flow.
      while (listeners.has(next)) next = (next + 1) % 2 ** 32;
      const flow = next;
      next = (next + 1) % 2 ** 32;
      return flow;
    },
    open(flow, listener) {
      const prefix = encodeFlowPrefix(flow);
      listeners.set(flow, listener);
      return {
        get maxSize() {
          return channel.maxSize - prefix.length;
        },
        send: (packet) => channel.send(Buffer.concat([prefix, packet])),
        [Symbol.dispose]() {
          if (listeners.get(flow) === listener) listeners.delete(flow);
        },
      };
    },
  };
}
