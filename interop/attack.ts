/**
 * What the fault tests share: a node on loopback, and clients of it that come from any address of 127.0.0.0/8.
 *
 * @module
 */

import { bind } from "@alknet/quic/endpoint";
import type { TransportOptions } from "@alknet/quic/transport-options";
import { createDialer, type Dialer } from "@alknet/core/dialer";
import {
  createEndpoint,
  type Endpoint,
  type EndpointEvent,
  type EndpointOptions,
} from "@alknet/core/endpoint";
import { createIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import { staticIdentities } from "@alknet/core/static-identities";
import { resetCodeOf } from "@alknet/core/quic-connection";
import type { Target } from "@alknet/core/target";

export const TRANSPORTS = ["quic", "tcp"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** A node, the key of a peer that it knows as "peer", and what it told. Disposing closes it. */
export interface Site extends AsyncDisposable {
  readonly node: Endpoint;
  readonly target: Target;
  readonly port: number;
  readonly peer: NodeIdentity;
  readonly events: readonly EndpointEvent[];
  /** The first event, past or to come, that `wanted` is true of. */
  event(wanted: (event: EndpointEvent) => boolean): Promise<EndpointEvent>;
}

export type SiteOptions = Omit<EndpointOptions, "identity" | "identities" | "listen" | "onevent">;

/** Start a node in this process, on 127.0.0.1. */
export async function site(options: SiteOptions): Promise<Site> {
  const identity = createIdentity();
  const peer = createIdentity();
  const events: EndpointEvent[] = [];
  const listeners = new Set<(event: EndpointEvent) => void>();
  const node = await createEndpoint({
    ...options,
    identity,
    identities: staticIdentities([
      { peerId: "peer", fingerprints: [peer.fingerprint], scopes: [], enabled: true },
    ]),
    listen: ["127.0.0.1:0"],
    onevent(event) {
      events.push(event);
      for (const listener of listeners) listener(event);
    },
  });
  const [{ port } = { port: 0 }] = node.addresses;
  return {
    node,
    target: { address: `127.0.0.1:${port}`, fingerprint: identity.fingerprint },
    port,
    peer,
    events,
    event: (wanted) =>
      new Promise((resolve) => {
        const past = events.find(wanted);
        if (past !== undefined) return resolve(past);
        const listener = (event: EndpointEvent): void => {
          if (!wanted(event)) return;
          listeners.delete(listener);
          resolve(event);
        };
        listeners.add(listener);
      }),
    [Symbol.asyncDispose]: () => node.close(),
  };
}

/** A dialer that shows `identity`. Over QUIC it comes from `address`; over TCP from 127.0.0.1 always. */
export function dialerOf(
  identity: NodeIdentity | undefined,
  address = "127.0.0.1",
  transport: TransportOptions = {},
): Dialer {
  return createDialer({
    ...(identity === undefined ? {} : { identity }),
    identities: staticIdentities([]),
    bind: () => bind({ address, resetCodeOf, transport }),
  });
}

/**
 * Look every few milliseconds whether `done`: for what is counted, by this process or another, and told by no
 * event.
 *
 * @throws {Error} with what `state` says when it is not after 30 s.
 */
export async function until(
  done: () => boolean | Promise<boolean>,
  state: () => unknown,
): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await done())) {
    if (performance.now() > deadline) {
      throw new Error(`waited 30 s in vain; it is ${JSON.stringify(await state())}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
