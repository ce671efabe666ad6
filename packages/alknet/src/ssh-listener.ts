/**
 * SSH on a port of its own, for clients that know nothing of Alknet: plain TCP, and who is there is for SSH to find out.
 *
 * Until somebody is logged in, a connection counts as a handshake does: what floods one port finds the same bounds and
 * the same penalties at the other.
 *
 * @module
 */

import { once } from "node:events";
import net from "node:net";
import type { IdentityProvider } from "@alknet/core/access";
import { formatHostPort, type HostPort } from "@alknet/core/host";
import type { Penalty } from "@alknet/core/limit-values";
import type { AdmissionLimits, ConnectionSlot } from "@alknet/core/limits";
import type { Logger } from "@alknet/core/log";
import { CommandError } from "./command-error.ts";
import type { SshService } from "./ssh-service.ts";

export interface SshListenerOptions {
  readonly listen: readonly HostPort[];
  /** File in which `listen` stands, for messages. */
  readonly config: string;
  readonly ssh: Pick<SshService, "serve">;
  readonly identities: IdentityProvider;
  readonly limits: AdmissionLimits;
  /** How long `close()` lets sessions finish, in milliseconds. */
  readonly drain: number;
  readonly logger: Logger;
}

/** `await using` closes it. */
export interface SshListener extends AsyncDisposable {
  /** Where it listens, in the order of `listen`. */
  readonly addresses: readonly HostPort[];
  /** Take nobody new, let those who are logged in finish, cut off who is left. Idempotent. */
  close(): Promise<void>;
}

/**
 * Listen, and serve SSH.
 *
 * @throws {CommandError} with the system's `code` if a port is not to be had.
 */
export async function listenSsh(options: SshListenerOptions): Promise<SshListener> {
  const { ssh, identities, limits, drain, logger } = options;
  /** Connections, each with whether somebody is logged in. */
  const live = new Map<net.Socket, { loggedIn: boolean }>();
  const servers: net.Server[] = [];
  const addresses: HostPort[] = [];
  const draining = new AbortController();
  let closing: Promise<void> | undefined;

  function take(socket: net.Socket): void {
    socket.on("error", (error) => logger.debug({ err: error }, "ssh: a connection failed"));
    const { remoteAddress: address = "", remotePort: port = 0 } = socket;
    const { localAddress: host = "", localPort = 0 } = socket;
    const drop = (): void => void socket.destroy();
    const admission = limits.begin({ address, validated: true }, "tcp", drop);
    if (admission.outcome !== "accept") {
      const reason = admission.outcome === "retry" ? "limit" : admission.reason;
      logger.debug({ remote: address, reason }, "ssh: turned away");
      socket.resetAndDestroy();
      return;
    }
    const { handshake } = admission;
    const state = { loggedIn: false };
    let slot: ConnectionSlot | undefined;
    let penalty: Penalty | undefined;
    live.set(socket, state);
    const served = ssh.serve(socket, {
      identities,
      remoteAddress: formatHostPort({ host: address, port }),
      localAddress: formatHostPort({ host, port: localPort }),
      draining: draining.signal,
      penalize(earned) {
        if (slot === undefined) penalty ??= earned;
        else slot.penalize(earned);
      },
      onlogin(peer) {
        slot = handshake.succeeded(peer, "peer");
        state.loggedIn = slot !== undefined;
        return state.loggedIn;
      },
    });
    // It never rejects, but for a module that cannot be loaded.
    const failed = (error: Error): void => logger.error({ err: error }, "ssh: cannot serve");
    void served.catch(failed).then(() => {
      live.delete(socket);
      socket.destroy();
      if (slot === undefined) handshake.failed(penalty);
      else slot[Symbol.dispose]();
    });
  }

  async function shutdown(): Promise<void> {
    const closed = servers.map((server) => closeServer(server));
    draining.abort();
    for (const [socket, { loggedIn }] of live) if (!loggedIn) socket.destroy();
    const ended = Promise.all([...live.keys()].map((socket) => closedSocket(socket)));
    await Promise.race([ended, once(AbortSignal.timeout(drain), "abort")]);
    for (const socket of live.keys()) socket.destroy();
    await Promise.all([ended, ...closed]);
  }

  const listener: SshListener = {
    addresses,
    close: () => (closing ??= shutdown()),
    [Symbol.asyncDispose]: () => listener.close(),
  };
  for (const wanted of options.listen) {
    const server = net.createServer({ noDelay: true, keepAlive: true }, take);
    servers.push(server);
    try {
      addresses.push(await bind(server, wanted));
    } catch (error) {
      await listener.close();
      throw cannotListen(wanted, options.config, error as NodeJS.ErrnoException);
    }
  }
  return listener;
}

async function bind(server: net.Server, { host, port }: HostPort): Promise<HostPort> {
  server.listen({ host, port });
  await once(server, "listening");
  const bound = server.address() as net.AddressInfo;
  return { host: bound.address, port: bound.port };
}

/** Also of one that never listened. */
function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => void server.close(() => resolve()));
}

async function closedSocket(socket: net.Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => void socket.once("close", resolve));
}

function cannotListen(
  wanted: HostPort,
  config: string,
  error: NodeJS.ErrnoException,
): CommandError {
  const { code } = error;
  const why = code === "EADDRINUSE" ? "the port is taken" : error.message;
  return new CommandError(`cannot listen for SSH on ${formatHostPort(wanted)}: ${why}`, {
    code,
    hint: `it stands in ${config}, listen in [ssh]; who has which port: ss -ltnp`,
    cause: error,
  });
}
