/**
 * Forward a local UDP port: each client of it has a flow to one target on the far side.
 *
 * @module
 */

import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { type Clock, systemClock } from "@alknet/core/clock";
import { StreamReset } from "@alknet/core/connection";
import { type Logger, silentLogger } from "@alknet/core/log";
import { logFailure } from "./forward.ts";
import type { Target } from "./granted-addresses.ts";
import type { Listener } from "./listener.ts";
import { type DialUdp, openUdp, type UdpFlow } from "./open-udp.ts";
import { DEFAULT_UDP_IDLE } from "./packet-flow.ts";

export interface ForwardUdpOptions {
  /** @default "127.0.0.1": whoever can send there uses the rights of this node. */
  host?: string | undefined;
  /** 0: the system picks one. */
  port: number;
  /** What the far side sends to. */
  target: Target;
  /** Clients, by address and port, at a time; the one that was silent the longest makes room. @default 1_024 */
  maxClients?: number | undefined;
  /** How long a client may be silent, in milliseconds. @default 60_000 */
  idle?: number | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
  /** Hears of each flow that could not be opened. @default a warning to `logger`, without the target */
  onfailure?: ((error: Error) => void) | undefined;
}

/** Packets of a client that wait until its flow is asked for; those above are dropped. */
const MAX_WAITING = 64;

/** Bytes that may wait for the system to take them. */
const MAX_QUEUED = 1024 * 1024;

/** What the system is asked to keep of a burst, in bytes; it gives what it allows. */
const SOCKET_BUFFER = 1024 * 1024;

/** One address and port that has sent something. */
interface Client {
  flow: UdpFlow | undefined;
  readonly waiting: Uint8Array[];
  readonly gone: AbortController;
}

/**
 * Listen, and forward what comes. What answers to a client comes from the port that it has sent to. A client whose
 * flow is refused hears nothing, as from a network that drops; its next packet asks again.
 *
 * `close()` and `abort()` of the listener do the same: packets are not waited for.
 *
 * Rejects with the system's error (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`).
 */
export async function forwardUdp(dial: DialUdp, options: ForwardUdpOptions): Promise<Listener> {
  const { host = "127.0.0.1", port, target, maxClients = 1_024, idle = DEFAULT_UDP_IDLE } = options;
  const { clock = systemClock, logger = silentLogger, onfailure } = options;
  /** In the order in which they were heard of last. */
  const clients = new Map<string, Client>();
  const live = new Set<Promise<void>>();
  const over = new AbortController();
  const socket = createSocket({
    type: isIPv6(host) ? "udp6" : "udp4",
    recvBufferSize: SOCKET_BUFFER,
    sendBufferSize: SOCKET_BUFFER,
  });
  try {
    socket.bind({ address: host, port });
    await once(socket, "listening");
  } catch (error) {
    socket.close();
    throw error;
  }
  // What a client does not take comes back as an error of the socket that all of them share.
  socket.on("error", (error) => logger.debug({ err: error }, "packet not taken"));
  socket.on("message", receive);

  function receive(packet: Uint8Array, from: RemoteInfo): void {
    const key = `${from.address} ${from.port}`;
    const client = clients.get(key) ?? admit(key, from);
    clients.delete(key);
    clients.set(key, client);
    if (client.flow !== undefined) client.flow.send(packet);
    else if (client.waiting.length < MAX_WAITING) client.waiting.push(packet);
  }

  function admit(key: string, from: RemoteInfo): Client {
    const [oldest] = clients.keys();
    if (oldest !== undefined && clients.size >= maxClients) {
      clients.get(oldest)!.gone.abort(new Error("another client takes its place"));
      clients.delete(oldest);
    }
    const client: Client = { flow: undefined, waiting: [], gone: new AbortController() };
    const served = serve(client, from).then(() => {
      if (clients.get(key) === client) clients.delete(key);
      live.delete(served);
    });
    live.add(served);
    return client;
  }

  async function serve(client: Client, from: RemoteInfo): Promise<void> {
    const signal = AbortSignal.any([over.signal, client.gone.signal]);
    try {
      const flow = await openUdp(dial, target, {
        onpacket: (packet) => answer(packet, from),
        idle,
        signal,
        clock,
      });
      client.flow = flow;
      for (const packet of client.waiting.splice(0)) flow.send(packet);
      const broken = await flow.closed;
      // The far side has ended what it had opened; the next packet hears why, if it still does.
      if (broken instanceof StreamReset) logger.debug({ err: broken }, "flow reset");
      else if (broken !== undefined) throw broken;
    } catch (error) {
      if (signal.aborted) return;
      if (onfailure === undefined) logFailure(logger, error as Error, "not forwarded");
      else onfailure(error as Error);
      logger.debug({ err: error }, (error as Error).message);
    }
  }

  function answer(packet: Uint8Array, to: RemoteInfo): void {
    if (over.signal.aborted || socket.getSendQueueSize() > MAX_QUEUED) return;
    // With a callback a failure is no event.
    socket.send(packet, to.port, to.address, () => {});
  }

  const { address, port: bound } = socket.address();
  let closing: Promise<void> | undefined;
  async function close(reason: Error): Promise<void> {
    over.abort(reason);
    const closed = once(socket, "close");
    socket.close();
    await Promise.all([closed, ...live]);
  }
  const abort = (reason = new Error("listener closed")): Promise<void> =>
    (closing ??= close(reason));
  return {
    address: { address, port: bound },
    get connections() {
      return clients.size;
    },
    close: () => abort(),
    abort: (reason) => void abort(reason),
    [Symbol.asyncDispose]: () => abort(),
  };
}
