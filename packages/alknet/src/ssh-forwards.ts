/**
 * Forwards of `alknet ssh`: what listens here and leads there (`-L`, `-D`), and what listens there and leads here
 * (`-R`).
 *
 * What listens here stays when the connection is lost, and waits for the next one; what listens there is asked for again.
 *
 * @module
 */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { SshClient } from "@alknet/ssh/client";
import { joinChannel } from "@alknet/ssh/forwarding-join";
import { listen, listenUnix } from "@alknet/tunnel/listener";
import type { ProxyRequest } from "@alknet/tunnel/proxy-request";
import { stopWith } from "@alknet/tunnel/stop";
import { readSocks, refuseSocks } from "./ssh-socks.ts";
import { formatPlace, type ForwardPlace, type SshForward } from "./ssh-forward-spec.ts";

/** The SSH connection as it is now, or as soon as there is one. */
export type CurrentClient = (signal: AbortSignal) => Promise<SshClient>;

/** Hears that a connection came to nothing. @param asked by a client of SOCKS */
export type TellRefused = (forward: SshForward, error: Error, asked?: ForwardPlace) => void;

export interface LocalForward {
  /** With the port that was got. */
  readonly place: ForwardPlace;
  close(): Promise<void>;
}

/**
 * Listen here; at a Unix socket for this user alone, in the place of one that nobody listens at any more.
 *
 * @throws the system's error
 */
export async function listenHere(
  forward: SshForward,
  current: CurrentClient,
  onrefused: TellRefused,
): Promise<LocalForward> {
  const { listen: place, target } = forward;
  const serve = async (socket: Socket, signal: AbortSignal): Promise<void> => {
    using wanted = stopWith(signal);
    socket.once("close", () => wanted.abort(new Error("the local connection was closed")));
    const open = async (to: ForwardPlace): Promise<Duplex> => {
      const { remoteAddress: address = "127.0.0.1", remotePort: port = 0 } = socket;
      const client = await current(wanted.signal);
      const place = "path" in to ? { path: to.path } : { host: to.host, port: to.port };
      return await client.connect(place, { address, port });
    };
    let request: ProxyRequest | undefined;
    try {
      if (target === undefined) request = await readSocks(socket, wanted.signal);
      const channel = await open(target ?? request!);
      if (request !== undefined) socket.write(request.accepted);
      await joinChannel(socket, channel, signal);
    } catch (error) {
      if (wanted.signal.aborted || (target === undefined && request === undefined)) return;
      onrefused(forward, error as Error, request);
      if (request !== undefined) await refuseSocks(socket, request, error);
    }
  };
  const listener = await ("path" in place ? listenUnix(place, serve) : listen(place, serve));
  const { address } = listener;
  return {
    place:
      typeof address === "string"
        ? { path: address }
        : { host: address.address, port: address.port },
    async close() {
      listener.abort();
      await listener.close();
    },
  };
}

/** Have the far side listen, over this connection. @returns where. @throws {SshClientError} */
export async function listenThere(
  client: SshClient,
  forward: SshForward,
  onrefused: TellRefused,
): Promise<ForwardPlace> {
  const { target } = forward;
  const over = new AbortController();
  void client.closed.then(() => over.abort(new Error("the SSH connection is gone")));
  const listener = await client.listen(forward.listen, ({ accept, refuse }) => {
    if (target === undefined) void carrySocks(accept());
    else void carry(target, accept, refuse);
  });

  async function carry(to: ForwardPlace, accept: () => Duplex, refuse: () => void): Promise<void> {
    let socket: Socket;
    try {
      socket = await dial(to, over.signal);
    } catch (error) {
      if (over.signal.aborted) return;
      refuse();
      return onrefused(forward, error as Error);
    }
    if (over.signal.aborted) return void socket.destroy();
    // What is accepted must not be refused any more: a server ends the whole connection for that.
    await joinChannel(socket, accept(), over.signal);
  }

  /** Somebody over there asks, by SOCKS, for a connection from here. */
  async function carrySocks(channel: Duplex): Promise<void> {
    channel.on("error", () => {});
    let request: ProxyRequest | undefined;
    try {
      request = await readSocks(channel, over.signal);
      const socket = await dial(request, over.signal);
      channel.write(request.accepted);
      await joinChannel(socket, channel, over.signal);
    } catch (error) {
      if (over.signal.aborted || request === undefined) return void channel.destroy();
      onrefused(forward, error as Error, request);
      await refuseSocks(channel, request, error);
    }
  }

  return listener.place;
}

/** @throws the system's error, or one of `signal`. */
async function dial(target: ForwardPlace, signal: AbortSignal): Promise<Socket> {
  const place = "path" in target ? { path: target.path } : { host: target.host, port: target.port };
  const socket = connect({ ...place, allowHalfOpen: true, noDelay: true });
  try {
    await once(socket, "connect", { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** `127.0.0.1:8080 -> db:5432` @param place where it listens */
export function describeForward({ target }: SshForward, place: ForwardPlace): string {
  return target === undefined
    ? `SOCKS on ${formatPlace(place)}`
    : `${formatPlace(place)} -> ${formatPlace(target)}`;
}
