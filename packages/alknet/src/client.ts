/**
 * What commands dial with: this node's key, the peers of its configuration, sockets of their own.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import { loadConfig } from "@alknet/core/config-file";
import { createDialer, type Dialer } from "@alknet/core/dialer";
import type { NodeIdentity } from "@alknet/core/identity-file";
import type { Logger } from "@alknet/core/log";
import { joinIdentities } from "@alknet/core/joined-identities";
import type { PeerEntry } from "@alknet/core/peers";
import { staticIdentities } from "@alknet/core/static-identities";
import { resetCodeOf } from "@alknet/core/quic-connection";
import { bind } from "@alknet/quic/endpoint";
import type { Context } from "./context.ts";
import { nodeIdentity } from "./node-identity.ts";
import { openStoreToRead } from "./open-store.ts";
import { transportOf } from "./transport.ts";

/** `await using` closes it, within the drain time. */
export interface Client extends AsyncDisposable {
  readonly config: Config;
  readonly identity: NodeIdentity;
  /** Who is known by name. */
  readonly peers: readonly PeerEntry[];
  readonly dialer: Dialer;
  /**
   * Close when nothing is under way any more, without waiting: QUIC keeps a closed connection's state for
   * three round trips and more, to repeat its goodbye, and a command that is done has no time for that.
   */
  leave(): Promise<void>;
}

export async function openClient(context: Context, logger?: Logger): Promise<Client> {
  const { home } = context;
  const config = await loadConfig(home.config);
  // First: it may ask a person.
  const identity = await nodeIdentity(context, config);
  const configured = staticIdentities(config.peers);
  // Names that were learnt by joining. Without a database there are none, and nothing is made.
  const store = await openStoreToRead(context, config, logger);
  const identities = store === undefined ? configured : joinIdentities([configured, store]);
  const dialer = createDialer({
    identity,
    identities,
    bind: () => bind({ resetCodeOf, transport: transportOf(config) }),
    logger,
  });
  return {
    config,
    identity,
    peers: identities.peers,
    dialer,
    async leave() {
      void dialer.close();
      void store?.close();
      // The goodbye leaves at the end of this turn of the loop.
      await new Promise(setImmediate);
    },
    async [Symbol.asyncDispose]() {
      await dialer.close();
      await store?.close();
    },
  };
}
