/**
 * The node: the endpoint, and every service that it has.
 *
 * This is the only place that knows all handlers; they do not know each other.
 *
 * @module
 */

import { hostname, networkInterfaces } from "node:os";
import { createEndpoint, type EndpointEvent } from "@alknet/core/endpoint";
import type { Cut } from "@alknet/core/access";
import type { Config, HandlerName } from "@alknet/core/config";
import type { ProtocolHandler } from "@alknet/core/handler";
import { formatHostPort, type HostPort } from "@alknet/core/host";
import type { NodeIdentity } from "@alknet/core/identity-file";
import type { Logger } from "@alknet/core/log";
import type { IdentityStore } from "@alknet/core/identity-store";
import { joinIdentities } from "@alknet/core/joined-identities";
import { staticIdentities } from "@alknet/core/static-identities";
import { pingHandler } from "@alknet/core/ping";
import { REGISTER_ALPN, registerHandler } from "@alknet/core/register";
import { formatTicket } from "@alknet/core/ticket";
import { systemResolve } from "@alknet/tunnel/connect";
import { inbound } from "@alknet/tunnel/inbound";
import { outbound } from "@alknet/tunnel/outbound";
import { ownSockets } from "@alknet/tunnel/own-sockets";
import { tunnel } from "@alknet/tunnel/tunnel";
import { connectionList } from "./connection-list.ts";
import { reconfigure } from "./config-reload.ts";
import { EventLog } from "./event-log.ts";
import type { HostKey } from "./host-key.ts";
import { DISABLED, MAX_LISTED, sessionStatus } from "./node-status.ts";
import type { OperatedNode } from "./operations/node-sources.ts";
import type { RefusalStatus } from "./operations/status-document.ts";
import { outboundProxy } from "./outbound-proxy.ts";
import { ownAddresses } from "./own-addresses.ts";
import { ownName } from "./own-name.ts";
import { resolvePeers } from "./resolve-peers.ts";
import { listenSsh } from "./ssh-listener.ts";
import { SSH_ALPN, sshService } from "./ssh-service.ts";
import { transportOf } from "./transport.ts";
import { webPage } from "./web-page.ts";

export interface NodeOptions {
  readonly config: Config;
  readonly identity: NodeIdentity;
  /** What clients of SSH are shown. Needed for that, and for nothing else. */
  readonly hostKey: HostKey | undefined;
  /** Unix sockets of this node, which no peer reaches. */
  readonly ownPaths: readonly string[];
  /** Folders of this node, where no peer has a socket made. */
  readonly ownFolders: readonly string[];
  /** Who is known beside the configuration. Whoever opened it closes it, after the node. */
  readonly store: IdentityStore;
  /** What answers `alknet/call`. */
  readonly calls: ProtocolHandler;
  readonly version: string;
  readonly logger: Logger;
}

/** A running node. */
export interface Node extends OperatedNode, AsyncDisposable {
  /** Where others may reach it, `host:port`. */
  readonly addresses: readonly string[];
  readonly ticket: string;
  /**
   * Put another configuration in place; what needs a restart stays as it is.
   *
   * @returns what that has ended.
   */
  reconfigure(next: Config): Cut;
  /** Take nobody new, let what goes on finish within the drain time, give the port back. Idempotent. */
  close(): Promise<void>;
}

/** Refusals that `alknet status` shows; `alknet log` has more. */
const MAX_SHOWN = 64;

/** With more peers than this, a refusal does not tell whether its key is that of a disabled one. */
const MAX_LOOKED_AT = 10_000;

/** Strangers that the log has told how to let in; then they are forgotten, and may be told of again. */
const MAX_TOLD = 256;

/**
 * Start a node.
 *
 * @throws {Error} with the system's `code` if a port is not to be had; a {@linkcode CommandError} if it is that of SSH.
 */
export async function startNode(options: NodeOptions): Promise<Node> {
  const { config, identity, hostKey, store, calls, version, logger } = options;
  const { fingerprint } = identity;
  const started = performance.now();
  const refusals = new EventLog<RefusalStatus>();
  const told = new Set<string>();
  let draining = false;

  function keepRefusal(refusal: Omit<RefusalStatus, "time">): void {
    refusals.add({ time: new Date().toISOString(), ...refusal });
  }

  /** Name of the peer whose key it is, and which is let in by nothing. */
  function disabledPeer(key: string | undefined): string | undefined {
    // Strangers cause this, and it looks at every peer.
    if (key === undefined || identities.peers.length > MAX_LOOKED_AT) return undefined;
    return identities.peers.find((it) => !it.enabled && it.fingerprints.includes(key))?.peerId;
  }

  function onevent(event: EndpointEvent): void {
    if (event.kind !== "refused") return;
    const { peer, fingerprint: key, alpn, reason } = event;
    const disabled = reason === "not a peer" ? disabledPeer(key) : undefined;
    if (disabled !== undefined) return keepRefusal({ who: disabled, alpn, reason: DISABLED });
    keepRefusal({ who: peer ?? key ?? "no key", alpn, reason });
    if (reason !== "not a peer" || key === undefined || told.has(key)) return;
    if (told.size === MAX_TOLD) told.clear();
    told.add(key);
    logger.info({}, `to let this key in: alknet peers add NAME ${key} --grant SCOPE`);
  }

  // As the configuration has them, until they are bound.
  let ownPorts: readonly HostPort[] = [...config.listen, ...config.ssh.listen];
  const own = ownSockets({
    addresses: () => ownPorts,
    paths: () => options.ownPaths,
    folders: () => options.ownFolders,
  });
  const flows = outbound({
    resolve: resolvePeers(() => identities.peers, systemResolve),
    limits: config.tunnel,
    own,
    proxy: outboundProxy(config.tunnel, config.path),
  });
  const listeners = inbound({ limits: config.tunnel, own, logger });
  const tunnels = tunnel({
    outbound: flows,
    inbound: listeners,
    logger,
    onrefused: ({ peer: who, reason, scope }) =>
      keepRefusal({ who, alpn: "alknet/tunnel", reason, scope }),
  });
  const shells =
    hostKey &&
    sshService({
      hostKey: hostKey.file,
      acceptEnv: config.ssh.acceptEnv,
      limits: config.ssh.limits,
      record: config.ssh.record,
      outbound: flows,
      inbound: listeners,
      logger,
      onrefused: ({ peer: who = "no key", reason, scope }) =>
        keepRefusal({ who, alpn: SSH_ALPN, reason, scope }),
    });
  const { apiKeys, roles } = config;
  const configured = staticIdentities(config.peers, { apiKeys, roles });
  const identities = joinIdentities([configured, store]);
  const register = registerHandler({
    store,
    configured,
    name: ownName(config.name, hostname()),
    logger,
    onrefused: ({ fingerprint: who, reason }) => keepRefusal({ who, alpn: REGISTER_ALPN, reason }),
  });
  const services: Readonly<Record<HandlerName, () => ProtocolHandler>> = {
    ping: pingHandler,
    register: () => register,
    call: () => calls,
    tunnel: () => tunnels,
    ssh: () => {
      if (shells === undefined) throw new TypeError("cannot serve SSH: there is no host key");
      return shells.handler;
    },
    web: webPage,
  };
  const { exempt, caps, penalties, drain, handshakeTimeout, idleTimeout } = config.limits;
  const endpoint = await createEndpoint({
    identity,
    identities,
    handlers: config.handlers.map((name) => services[name]()),
    listen: config.listen.map(formatHostPort),
    limits: { exempt, caps, penalties },
    drain,
    handshakeTimeout,
    idleTimeout,
    transport: transportOf(config),
    logger,
    onevent,
  });
  const plainSsh =
    shells &&
    (await listenSsh({
      listen: config.ssh.listen,
      config: config.path,
      ssh: shells,
      identities,
      limits: endpoint.limits,
      drain,
      logger,
    }).catch(async (error: unknown) => {
      await endpoint.close();
      throw error;
    }));
  ownPorts = [...endpoint.addresses, ...(plainSsh?.addresses ?? [])];
  const close = async (): Promise<void> => {
    draining = true;
    await Promise.all([endpoint.close(), plainSsh?.close()]);
  };
  const addresses = ownAddresses(endpoint.addresses, networkInterfaces());
  const listed = connectionList(() => endpoint.connections);

  return {
    connections: listed.list,
    closeConnections: listed.close,
    reconfigure: (next) =>
      reconfigure(
        {
          configured,
          store,
          limits: endpoint.limits,
          outbound: flows,
          inbound: listeners,
          ssh: shells,
        },
        next,
      ),
    refusals,
    addresses,
    ticket: formatTicket({ fingerprint, addresses, name: config.name }),
    status() {
      const now = performance.now();
      const connections = listed.list({});
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
        listeners: listeners.listeners,
        connectionCount: connections.length,
        connections: connections.slice(-MAX_LISTED),
        ...(shells &&
          plainSsh && {
            ssh: {
              sessions: shells.list().slice(-MAX_LISTED).map(sessionStatus),
              hostKey: hostKey.fingerprint,
              listen: plainSsh.addresses.map(formatHostPort),
            },
          }),
        refused: refusals.entries.slice(-MAX_SHOWN),
        peers: identities.peers.length,
        store: { path: store.label, state: store.state },
        problems: identities.problems,
        limits: endpoint.limits.report(),
      };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
