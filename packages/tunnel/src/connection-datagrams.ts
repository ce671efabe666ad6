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
  /**
   * A number is being asked for: what comes for numbers that nobody has waits until this is disposed, within
   * bounds. The answer is on a stream, which a datagram may overtake.
   */
  expect(): Disposable;
  /** A number that no flow of this connection has. The node that connects for the other gives them out. */
  allocate(): number;
  /** Have `listener` get the packets of `flow`. */
  open(flow: number, listener: (packet: Uint8Array) => void): FlowDatagrams;
}

/** Packets that wait for an answer to come, and their bytes. */
const MAX_EARLY = 256;
const MAX_EARLY_BYTES = 256 * 1024;

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
  let expected = 0;
  let early: { readonly flow: number; readonly packet: Uint8Array }[] = [];
  let earlyBytes = 0;

  function keep(flow: number, packet: Uint8Array): void {
    if (early.length >= MAX_EARLY || earlyBytes + packet.length > MAX_EARLY_BYTES) return;
    early.push({ flow, packet: Uint8Array.from(packet) });
    earlyBytes += packet.length;
  }

  function forget(): void {
    early = [];
    earlyBytes = 0;
  }

  channel.listen((datagram) => {
    const decoded = decodeDatagram(datagram);
    if (decoded === undefined) return;
    const { flow, packet } = decoded;
    const listener = listeners.get(flow);
    if (listener !== undefined) listener(packet);
    else if (expected > 0) keep(flow, packet);
  });
  return {
    expect() {
      expected++;
      return { [Symbol.dispose]: () => void (--expected === 0 && forget()) };
    },
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
      for (const each of early) if (each.flow === flow) listener(each.packet);
      early = early.filter((each) => each.flow !== flow);
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
