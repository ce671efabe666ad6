/**
 * The node: the endpoint, and every service that it has.
 *
 * This is the only place that knows all handlers; they do not know each other.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import { createEndpoint, type EndpointEvent } from "@alknet/core/endpoint";
import type { Config } from "@alknet/core/config";
import { formatHostPort } from "@alknet/core/host";
import type { NodeIdentity } from "@alknet/core/identity-file";
import type { Logger } from "@alknet/core/log";
import { staticIdentities } from "@alknet/core/static-identities";
import { pingHandler } from "@alknet/core/ping";
import { formatTicket } from "@alknet/core/ticket";
import { tunnel } from "@alknet/tunnel/tunnel";
import { MAX_LISTED, type NodeStatus, type RefusalStatus } from "./node-status.ts";
import { ownAddresses } from "./own-addresses.ts";
import { peerSnippet } from "./peer-snippet.ts";
import { transport } from "./transport.ts";
import { webPage } from "./web-page.ts";

export interface NodeOptions {
  readonly config: Config;
  readonly identity: NodeIdentity;
  readonly version: string;
  readonly logger: Logger;
}

/** A running node. */
export interface Node extends AsyncDisposable {
  /** Where others may reach it, `host:port`. */
  readonly addresses: readonly string[];
  readonly ticket: string;
  status(): NodeStatus;
  /** Take nobody new, let what goes on finish within the drain time, give the port back. Idempotent. */
  close(): Promise<void>;
}

/** Refusals that are kept for `alknet status`. */
const MAX_REFUSALS = 64;

/** Strangers that the log has told how to let in; then they are forgotten, and may be told of again. */
const MAX_TOLD = 256;

/**
 * Start a node.
 *
 * @throws {Error} with the system's `code` if a port is not to be had.
 */
export async function startNode(options: NodeOptions): Promise<Node> {
  const { config, identity, version, logger } = options;
  const { fingerprint } = identity;
  const started = performance.now();
  const refused: RefusalStatus[] = [];
  const told = new Set<string>();
  let draining = false;

  function keepRefusal(refusal: Omit<RefusalStatus, "time">): void {
    if (refused.length === MAX_REFUSALS) refused.shift();
    refused.push({ time: new Date().toISOString(), ...refusal });
  }

  function onevent(event: EndpointEvent): void {
    if (event.kind !== "refused") return;
    const { peer, fingerprint: key, alpn, reason } = event;
    keepRefusal({ who: peer ?? key ?? "no key", alpn, reason });
    if (reason !== "not a peer" || key === undefined || told.has(key)) return;
    if (told.size === MAX_TOLD) told.clear();
    told.add(key);
    const allow = peerSnippet("NAME", key);
    logger.info({ allow }, `to let this key in, add to ${config.path} and start again`);
  }

  const flows = tunnel({
    logger,
    onrefused: ({ peer: who, reason, scope }) =>
      keepRefusal({ who, alpn: "alknet/tunnel", reason, scope }),
  });
  const endpoint = await createEndpoint({
    identity,
    identities: staticIdentities(config.peers),
    handlers: [pingHandler(), flows, webPage()],
    listen: config.listen.map(formatHostPort),
    limits: { exempt: config.limits.exempt },
    transport,
    logger,
    onevent,
  });
  const addresses = ownAddresses(endpoint.addresses, networkInterfaces());

  return {
    addresses,
    ticket: formatTicket({ fingerprint, addresses, name: config.name }),
    status() {
      const now = performance.now();
      const connections = [...endpoint.connections];
      return {
        version,
        pid: process.pid,
        name: config.name,
        fingerprint,
        // Of now: a laptop moves, and a ticket that is asked for later has to lead to where it is.
        addresses: ownAddresses(endpoint.addresses, networkInterfaces()),
        listen: endpoint.addresses.map(formatHostPort),
        config: config.path,
        uptime: Math.round(now - started) / 1_000,
        draining,
        flows: flows.flows,
        connectionCount: connections.length,
        connections: connections.slice(-MAX_LISTED).map(({ connection, since }) => ({
          alpn: connection.alpn,
          transport: connection.transport,
          peer: connection.auth.peer?.id,
          remoteAddress: connection.remoteAddress,
          seconds: Math.round(now - since) / 1_000,
        })),
        refused: [...refused],
      };
    },
    close() {
      draining = true;
      return endpoint.close();
    },
    [Symbol.asyncDispose]: () => endpoint.close(),
  };
}
