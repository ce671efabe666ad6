/**
 * What answers calls to the running node, over `alknet/call` and on its control socket alike.
 *
 * The operations are loaded once the node is up: they take longer to load than the rest of it to start. Who calls
 * before has to wait.
 *
 * @module
 */

import type { CallHandlerOptions } from "@alknet/call/call-handler";
import type { CallSession } from "@alknet/call/session";
import type { ProtocolHandler } from "@alknet/core/handler";
import type { Logger } from "@alknet/core/log";
import { CALL_ALPN } from "./control.ts";
import type { NodeSources } from "./operations/node-sources.ts";

export interface NodeCallsOptions {
  /** Whether who is not known may call what asks for nothing. */
  readonly strangers: boolean;
  readonly logger: Logger;
}

export interface NodeCalls {
  /** For both. Serves nobody before {@linkcode begin}. */
  readonly handler: ProtocolHandler;
  /** Load the operations, and begin to answer. @throws if they cannot be loaded. */
  begin(sources: Omit<NodeSources, "calls">): Promise<void>;
}

export function createNodeCalls({ strangers, logger }: NodeCallsOptions): NodeCalls {
  const sessions = new Set<CallSession>();
  const loaded = Promise.withResolvers<ProtocolHandler>();
  // Whoever began it is told; who waits for it is, too.
  loaded.promise.catch(() => {});

  function onsession(session: CallSession): void {
    sessions.add(session);
    void session.closed.then(() => sessions.delete(session));
  }

  async function load(sources: Omit<NodeSources, "calls">): Promise<ProtocolHandler> {
    const { callHandler } = await import("@alknet/call/call-handler");
    const { nodeOperations } = await import("./operations/node-operations.ts");
    const calls = (): ReturnType<CallSession["stats"]>[] => [...sessions].map((it) => it.stats());
    const registry = nodeOperations({ ...sources, calls });
    const options: CallHandlerOptions = { registry, strangers, logger, onsession };
    return callHandler(options);
  }

  const handler: ProtocolHandler = {
    alpns: [CALL_ALPN],
    access: strangers ? "keyed" : "peers",
    tls: "node",
    handle: async (connection) => await (await loaded.promise).handle(connection),
  };
  return {
    handler,
    async begin(sources) {
      loaded.resolve(load(sources));
      await loaded.promise;
    },
  };
}
