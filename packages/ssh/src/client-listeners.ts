/**
 * Listeners of the server's side for a client: `tcpip-forward` (RFC 4254 §7.1) and
 * `streamlocal-forward@openssh.com`.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { Client, ClientChannel } from "ssh2";
import { SshClientError } from "./client-error.ts";

/** A TCP port or a Unix socket of the server's side. */
export type RemoteTarget =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/** Who has asked for a connection. */
export interface RemoteOrigin {
  readonly address: string;
  readonly port: number;
}

/** Takes a connection: `accept` it, or `refuse`. One of them is to be called, once. */
export type ServeRemote = (connection: {
  /** Unknown of a Unix socket. */
  readonly origin: RemoteOrigin | undefined;
  readonly accept: () => Duplex;
  readonly refuse: () => void;
}) => void;

export interface RemoteListener {
  /** With the port that was got. */
  readonly place: RemoteTarget;
  /** Have the server listen no more; connections that stand go on. */
  close(): Promise<void>;
}

/** @returns what has the server listen. It answers requests in their order. */
export function remoteListeners(
  client: Client,
  flowOf: (channel: ClientChannel) => Duplex,
): (place: RemoteTarget, serve: ServeRemote) => Promise<RemoteListener> {
  const serving = new Map<string, ServeRemote>();

  client.on("tcp connection", ({ destIP, destPort, srcIP, srcPort }, accept, reject) => {
    const serve = serving.get(keyOf({ host: destIP, port: destPort }));
    if (serve === undefined) return reject();
    const origin = { address: srcIP, port: srcPort };
    serve({ origin, accept: () => flowOf(accept()), refuse: reject });
  });
  client.on("unix connection", ({ socketPath }, accept, reject) => {
    const serve = serving.get(keyOf({ path: socketPath }));
    if (serve === undefined) return reject();
    const flow = (): Duplex => flowOf(accept() as unknown as ClientChannel);
    serve({ origin: undefined, accept: flow, refuse: reject });
  });

  return async (asked, serve) => {
    // At once: the first connection may be in the same piece as the answer.
    const onlisten = (place: RemoteTarget): void => void serving.set(keyOf(place), serve);
    const place = await listen(client, asked, onlisten).catch((cause: unknown) => {
      throw new SshClientError("LISTEN_REFUSED", "the server does not listen there", { cause });
    });
    return {
      place,
      async close() {
        serving.delete(keyOf(place));
        await cancel(client, place);
      },
    };
  };
}

function keyOf(place: RemoteTarget): string {
  return "path" in place ? place.path : `${place.host}:${place.port}`;
}

function listen(
  client: Client,
  asked: RemoteTarget,
  onlisten: (place: RemoteTarget) => void,
): Promise<RemoteTarget> {
  return new Promise((resolve, reject) => {
    const answered = (error: Error | undefined, place: RemoteTarget): void => {
      if (error !== undefined) return reject(error);
      onlisten(place);
      resolve(place);
    };
    if ("path" in asked) {
      client.openssh_forwardInStreamLocal(asked.path, (error) =>
        answered(error ?? undefined, asked),
      );
    } else {
      const { host } = asked;
      client.forwardIn(host, asked.port, (error, port) => answered(error, { host, port }));
    }
  });
}

function cancel(client: Client, place: RemoteTarget): Promise<void> {
  return new Promise((resolve) => {
    // Where it is gone, or was not there, there is nothing to cancel.
    const done = (): void => resolve();
    try {
      if ("path" in place) client.openssh_unforwardInStreamLocal(place.path, done);
      else client.unforwardIn(place.host, place.port, done);
    } catch {
      done();
    }
  });
}
