/**
 * Listeners of one SSH connection: `tcpip-forward` (RFC 4254 §7.1) and `streamlocal-forward@openssh.com`, which are
 * `ssh -R`.
 *
 * A listener ends with its connection, with its right, and when the client cancels it; connections that came by it go on
 * after a cancel, as sshd has it.
 *
 * @module
 */

import type { Socket } from "node:net";
import { resetSocket } from "@alknet/core/reset-socket";
import type { Connection as Client } from "ssh2";
import type { OfferedChannel } from "./ssh2-extension/forwarding.ts";
import { type ForwardingContext, isPath, report } from "./forwarding-context.ts";
import { joinChannel } from "./forwarding-join.ts";
import {
  type ForwardListener,
  type ForwardOrigin,
  type ForwardPlace,
  refusalOf,
} from "./forwarding-services.ts";

/** Listeners that one connection may have. */
const MAX_LISTENERS = 64;
/** Requests that may wait for those before them: a client sends what its command line has, all at once. */
const MAX_WAITING = 256;

type Answer = (port?: number) => void;

/** What came of the requests of a client. */
export interface Listeners {
  /**
   * Why it has no listeners where its requests so far wanted some, once those have been answered. The first who asks
   * is told: that is the session which the requests came with.
   */
  takeRefusals(): Promise<readonly string[]>;
}

/** Serve the requests of a client that has logged in. */
export function serveListeners(client: Client, context: ForwardingContext): Listeners {
  const { auth, channels, gone, inbound, logger } = context;
  const listeners = new Map<string, ForwardListener>();
  // One after the other: a cancel follows what it cancels.
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  let refusals: string[] | undefined = [];

  client.on("request", (accept: Answer | undefined, reject: Answer | undefined, name, info) => {
    const place = placeOf(info);
    const isCancel = name.startsWith("cancel-");
    if (waiting >= MAX_WAITING) return reject?.();
    waiting++;
    last = last.then(async () => {
      try {
        if (gone.aborted) return;
        if (isCancel) cancel(place);
        const port = isCancel ? undefined : await listen(place);
        accept?.(port);
      } catch (error) {
        if (gone.aborted) return;
        const refusal = refusalOf(error);
        report(refusal, error, context);
        // The answer itself has no room for a reason.
        const text = `alknet: cannot listen: ${refusal.text}`;
        channels.tell(text);
        if (refusals !== undefined && refusals.length < MAX_LISTENERS) refusals.push(text);
        reject?.();
      } finally {
        waiting--;
      }
    });
  });

  async function takeRefusals(): Promise<readonly string[]> {
    await last;
    const taken = refusals ?? [];
    refusals = undefined;
    return taken;
  }

  /** @returns the port that was got. */
  async function listen(place: ForwardPlace): Promise<number | undefined> {
    if (inbound === undefined) throw refused("not-allowed", "this node listens for nobody");
    if ("path" in place ? !isPath(place.path) : place.port > 65_535) {
      throw refused("host-unreachable", "that is no address and port, and no path");
    }
    if (listeners.has(keyOf(place))) throw refused("in-use", "this connection listens there");
    if (listeners.size >= MAX_LISTENERS) throw refused("limit", "too many listeners");
    let bound = place;
    const serve = (socket: Socket, origin: ForwardOrigin, signal: AbortSignal): void =>
      void carry(
        socket,
        "path" in bound ? { kind: "unix", ...bound } : { kind: "tcp", bound, origin },
        signal,
      );
    const listener = await inbound.listen(auth, place, serve, { signal: gone });
    // What the client knows it by: the address that it asked for, with the port that was got.
    if (!("path" in place) && !("path" in listener.place))
      bound = { ...place, port: listener.place.port };
    const key = keyOf(bound);
    listeners.set(key, listener);
    void listener.closed.then(() => {
      if (listeners.get(key) !== listener) return;
      listeners.delete(key);
      // SSH has no message for it, and the client would wait for ever.
      if (!gone.aborted) channels.tell(`alknet: listens no more on ${textOf(bound)}`);
    });
    return "path" in bound ? undefined : bound.port;
  }

  function cancel(place: ForwardPlace): void {
    const listener = listeners.get(keyOf(place));
    if (listener === undefined) throw refused("failed", "this connection does not listen there");
    listeners.delete(keyOf(place));
    listener.close();
  }

  /** Never rejects. */
  async function carry(
    socket: Socket,
    offered: OfferedChannel,
    signal: AbortSignal,
  ): Promise<void> {
    const peer = auth.peer?.id;
    try {
      const broken = await joinChannel(socket, await channels.offer(offered), signal);
      logger.debug({ peer, err: broken }, "ssh: a connection to a listener is over");
    } catch (error) {
      logger.debug({ peer, err: error }, "ssh: the client takes no connection of its listener");
      resetSocket(socket);
    }
  }

  return { takeRefusals };
}

function placeOf(info: unknown): ForwardPlace {
  const { bindAddr, bindPort, socketPath } = info as Record<string, string | number | undefined>;
  return socketPath === undefined
    ? { host: String(bindAddr), port: Number(bindPort) }
    : { path: String(socketPath) };
}

function textOf(place: ForwardPlace): string {
  return "path" in place ? place.path : `${place.host === "" ? "*" : place.host}:${place.port}`;
}

function keyOf(place: ForwardPlace): string {
  return "path" in place ? place.path : `${place.port} ${place.host}`;
}

function refused(refusal: string, text: string): Error {
  return Object.assign(new Error(text), { refusal });
}
