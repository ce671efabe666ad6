/**
 * UDP flows by a key, opened by the first packet: what a local UDP socket with many clients or targets has.
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import { StreamReset } from "@alknet/core/connection";
import type { Target } from "./granted-addresses.ts";
import type { DialWithConnection } from "./open-flow.ts";
import { openUdp, type UdpFlow } from "./open-udp.ts";

export interface UdpFlowsOptions {
  readonly dial: DialWithConnection;
  /** Flows at a time; the one that was silent the longest makes room. */
  readonly max: number;
  /** How long a flow may be silent, in milliseconds. */
  readonly idle: number;
  readonly clock: Clock;
  /** Hears of each flow that was not opened, or broke. */
  readonly onfailure: (error: Error, target: Target) => void;
}

/** What the flow of a key is for. */
export interface UdpFlowEnds {
  readonly target: Target;
  /** Gets what comes back. */
  readonly onpacket: (packet: Uint8Array) => void;
}

export interface UdpFlows {
  /** Send `packet` on the flow of `key`. @param begin asked for a key that has none. */
  send(key: string, packet: Uint8Array, begin: () => UdpFlowEnds): void;
  /** Flows that stand or are being opened. */
  readonly size: number;
  /** End all; no more are opened. Idempotent. */
  close(): Promise<void>;
}

/** Packets that wait until their flow is asked for; those above are dropped. */
const MAX_WAITING = 64;

interface Entry {
  flow: UdpFlow | undefined;
  readonly waiting: Uint8Array[];
  readonly gone: AbortController;
}

export function udpFlows({ dial, max, idle, clock, onfailure }: UdpFlowsOptions): UdpFlows {
  /** In the order in which they were used last. */
  const entries = new Map<string, Entry>();
  const live = new Set<Promise<void>>();
  const over = new AbortController();

  function admit(key: string, ends: UdpFlowEnds): Entry {
    const [oldest] = entries.keys();
    if (oldest !== undefined && entries.size >= max) {
      entries.get(oldest)!.gone.abort(new Error("another flow takes its place"));
      entries.delete(oldest);
    }
    const entry: Entry = { flow: undefined, waiting: [], gone: new AbortController() };
    const served = serve(entry, ends).then(() => {
      if (entries.get(key) === entry) entries.delete(key);
      live.delete(served);
    });
    live.add(served);
    return entry;
  }

  async function serve(entry: Entry, { target, onpacket }: UdpFlowEnds): Promise<void> {
    const signal = AbortSignal.any([over.signal, entry.gone.signal]);
    try {
      const flow = await openUdp(dial, target, { onpacket, idle, signal, clock });
      entry.flow = flow;
      for (const packet of entry.waiting.splice(0)) flow.send(packet);
      const broken = await flow.closed;
      // What was opened the far side has ended; the next packet hears why, if it still does.
      if (broken !== undefined && !(broken instanceof StreamReset)) throw broken;
    } catch (error) {
      if (!signal.aborted) onfailure(error as Error, target);
    }
  }

  return {
    send(key, packet, begin) {
      if (over.signal.aborted) return;
      const entry = entries.get(key) ?? admit(key, begin());
      entries.delete(key);
      entries.set(key, entry);
      if (entry.flow !== undefined) entry.flow.send(packet);
      else if (entry.waiting.length < MAX_WAITING) entry.waiting.push(packet);
    },
    get size() {
      return entries.size;
    },
    async close() {
      over.abort(new Error("closed"));
      await Promise.all(live);
    },
  };
}
