/**
 * `alknet/call`: operations that peers call by key, on connections on which this node may call them too.
 *
 * @module
 */

import type { Identity } from "@alknet/core/access";
import type { ProtocolHandler } from "@alknet/core/handler";
import { silentLogger } from "@alknet/core/log";
import type { CallLimits } from "./call-limits.ts";
import type { CallPeers } from "./call-peers.ts";
import { callSession } from "./call-session.ts";
import { createDispatch, type DispatchOptions } from "./dispatch.ts";
import type { ImportOptions } from "./from-call.ts";
import type { CallSession } from "./session.ts";

/** The ALPN of this protocol. */
export const CALL_ALPN: string = "alknet/call";

export interface CallHandlerOptions extends DispatchOptions {
  readonly peers?: CallPeers | undefined;
  /**
   * Which peers bring operations, and how they are taken; they go into `peers` when the peer connects.
   *
   * @default none does
   */
  readonly imports?: ((peer: Identity) => ImportOptions | undefined) | undefined;
  /**
   * Let in whoever proves a key, known or not: for operations whose access is `anyone`.
   *
   * @default false
   */
  readonly strangers?: boolean | undefined;
  readonly limits?: Partial<CallLimits> | undefined;
  /** Called with each session that begins. */
  readonly onsession?: ((session: CallSession) => void) | undefined;
}

/** Serve `alknet/call`. */
export function callHandler(options: CallHandlerOptions): ProtocolHandler {
  const { limits, clock, logger = silentLogger, peers, imports, onsession } = options;
  const dispatch = createDispatch(options);

  async function importFrom(session: CallSession): Promise<void> {
    const { peer } = session.connection.auth;
    const wanted = peer === undefined ? undefined : imports?.(peer);
    if (peer === undefined || wanted === undefined || peers === undefined) return;
    try {
      await peers.attach(peer.id, session, { clock, ...wanted });
      logger.info({ peer: peer.id }, "operations of a peer imported");
    } catch (error) {
      logger.warn({ err: error, peer: peer.id }, "operations of a peer not imported");
    }
  }

  return {
    alpns: [CALL_ALPN],
    access: options.strangers === true ? "keyed" : "peers",
    tls: "node",
    async handle(connection) {
      await using session = callSession(connection, { dispatch, limits, clock, logger });
      onsession?.(session);
      const imported = importFrom(session);
      await session.closed;
      await imported;
    },
  };
}
