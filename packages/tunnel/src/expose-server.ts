/**
 * The listening side of `expose`: this node listens for a peer and hands it each connection that comes.
 *
 * Where the peer's connection has many streams, each is a stream that the node opens. Where it has one, the
 * stream of the listener announces each with a random token, and the peer claims it on a connection of its own:
 * once, within ten seconds.
 *
 * @module
 */

import { randomBytes, timingSafeEqual } from "node:crypto";
import type { Duplex } from "node:stream";
import type { Socket } from "node:net";
import type { AuthContext } from "@alknet/core/access";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { Connection } from "@alknet/core/connection";
import { type Logger, silentLogger } from "@alknet/core/log";
import { resetSocket } from "@alknet/core/reset-socket";
import { framed } from "./framed.ts";
import {
  type Inbound,
  inbound,
  type InboundPlace,
  type Origin,
  type PeerListener,
} from "./inbound.ts";
import { type FlowEnd, join } from "./join.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { stopWith } from "./stop.ts";
import { encodeAnnouncement } from "./wire/announcement.ts";
import {
  type ClaimRequest,
  decodeReply,
  encodeReply,
  encodeRequest,
  type ListenRequest,
  TOKEN_LENGTH,
  type UnixRequest,
} from "./wire/open.ts";
import { encodeListening } from "./wire/opened.ts";

export interface ExposeServerOptions {
  /** How this node listens for its peers. @default one with the default limits, that serves nobody else */
  inbound?: Inbound | undefined;
  clock?: Clock | undefined;
  logger?: Logger | undefined;
}

/** A stream of `alknet/tunnel` whose request has been read. */
export interface ExposeStream {
  readonly connection: Connection;
  readonly stream: Duplex;
}

export interface ExposeServer {
  /**
   * Listen until the peer ends the stream, it breaks, the right is taken back, or the node drains; then until the
   * connections that came have ended. A stream that breaks ends these.
   *
   * @throws {FlowRefused}
   */
  listen(asked: ExposeStream, request: ListenRequest | UnixRequest): Promise<void>;
  /** Carry the connection that the token stands for, to its end. @throws {FlowRefused} if there is none */
  claim(asked: ExposeStream, request: ClaimRequest): Promise<void>;
}

/** Time for the peer to claim a connection, or to answer for it, in milliseconds. */
const CLAIM_WITHIN = 10_000;

/** Connections of one peer that may wait to be claimed; those above are reset. */
const MAX_UNCLAIMED = 256;

/** Bytes of announcements that may wait for the peer to read them: of about as many. */
const MAX_UNREAD = 16 * 1024;

/** A connection that waits to be claimed. */
interface Unclaimed {
  readonly token: Uint8Array;
  readonly socket: Socket;
  /** Aborts when the right to it is gone. */
  readonly signal: AbortSignal;
}

/** A listener that stands, and how to end it. */
interface Standing {
  readonly peer: string;
  readonly connection: Connection;
  readonly place: InboundPlace;
  readonly end: (error: Error) => void;
}

const NOTHING = new Uint8Array();

export function exposeServer(options: ExposeServerOptions = {}): ExposeServer {
  const { inbound: into = inbound(), clock = systemClock, logger = silentLogger } = options;
  const unclaimed = new Map<string, Set<Unclaimed>>();
  const standing = new Set<Standing>();
  let listeners = 0;

  async function listen(
    { connection, stream }: ExposeStream,
    request: ListenRequest | UnixRequest,
  ): Promise<void> {
    const { auth, multiplexed } = connection;
    const life = new AbortController();
    const broken = (error: Error): void => life.abort(error);
    stream.on("error", broken);
    const answered = Promise.withResolvers<void>();
    const carried = new Set<Promise<void>>();
    let control = stream;
    listeners = (listeners + 1) >>> 0;
    const number = listeners;

    function serve(socket: Socket, origin: Origin, signal: AbortSignal): void {
      const done = answered.promise
        .then(() => {
          const from = { ...origin, address: origin.address.split("%", 1)[0]! };
          return multiplexed
            ? offer(connection, number, socket, from, signal)
            : announce(auth, { stream, control }, socket, from, signal);
        })
        .catch((error: unknown) => {
          logger.debug({ peer: peerOf(auth), err: error }, "connection of a listener given up");
          resetSocket(socket);
        });
      carried.add(done);
      void done.then(() => carried.delete(done));
    }

    const wanted = placeOf(request);
    const begin = (): Promise<PeerListener> =>
      into.listen(auth, wanted, serve, { signal: life.signal });
    const listener = await begin().catch(async (error: unknown) => {
      if (await gaveWay(connection, wanted, error)) return await begin();
      throw error;
    });
    const { place } = listener;
    const entry: Standing = { peer: peerOf(auth), connection, place, end: broken };
    standing.add(entry);
    const body = encodeListening({ listener: number, place });
    stream.write(encodeReply({ kind: "open", body }));
    if (!multiplexed) control = framed(stream).on("error", broken);
    answered.resolve();
    // Nothing comes but the end.
    control.once("end", () => listener.close()).resume();
    control.once("close", () => {
      if (!control.readableEnded) broken(new Error("the peer has gone"));
    });
    // It may have gone while the listener was opened: a stream that has closed already tells of that no more.
    if (stream.destroyed) broken(new Error("the peer has gone"));
    const drain = (): void => listener.close();
    connection.draining.addEventListener("abort", drain, { once: true });
    if (connection.draining.aborted) drain();

    const error = await listener.closed;
    standing.delete(entry);
    connection.draining.removeEventListener("abort", drain);
    // An end of ours tells the peer that nobody listens any more, a reset why.
    if (error === undefined) control.end();
    else control.destroy(error);
    while (carried.size > 0) await Promise.all(carried);
  }

  /**
   * Whether what is in the way was a listener of the same peer whose connection is dead, and is no more. A peer that
   * was killed, or is somewhere else now, is back long before its old connection has timed out.
   */
  async function gaveWay(
    connection: Connection,
    wanted: InboundPlace,
    refused: unknown,
  ): Promise<boolean> {
    if (!(refused instanceof FlowRefused) || refused.refusal !== "in-use") return false;
    const peer = peerOf(connection.auth);
    const inTheWay = [...standing].filter(
      (it) => it.peer === peer && it.connection !== connection && isSamePlace(it.place, wanted),
    );
    const dead = await Promise.all(inTheWay.map((it) => isDead(it.connection, clock)));
    for (const [index, it] of inTheWay.entries()) {
      if (dead[index] === true) it.end(new Error("its connection does not answer any more"));
    }
    return dead.includes(true);
  }

  /** Open a stream to the peer for one connection. */
  async function offer(
    connection: Connection,
    listener: number,
    socket: Socket,
    origin: Origin,
    signal: AbortSignal,
  ): Promise<void> {
    using wanted = stopWith(signal);
    socket.once("close", () => wanted.abort(new Error("the connection was closed")));
    const stream = await connection.open({ signal: wanted.signal });
    stream.on("error", () => {});
    stream.write(encodeRequest({ kind: "accepted", listener, origin }));
    const opened = readHead(stream, decodeReply, clock.timeout(CLAIM_WITHIN)).then(({ value }) => {
      if (value.kind === "refused") throw new FlowRefused(value.refusal, value.text);
    });
    tell(connection.auth, await join(socket, stream, { signal, opened }));
  }

  /** Have the peer know of one connection, which it is to claim. */
  async function announce(
    auth: AuthContext,
    { stream, control }: { readonly stream: Duplex; readonly control: Duplex },
    socket: Socket,
    origin: Origin,
    signal: AbortSignal,
  ): Promise<void> {
    const peer = peerOf(auth);
    const waiting = unclaimed.get(peer) ?? new Set();
    const isFull = waiting.size >= MAX_UNCLAIMED || stream.writableLength > MAX_UNREAD;
    if (isFull || control.destroyed) return resetSocket(socket);
    unclaimed.set(peer, waiting);
    const entry: Unclaimed = { token: randomBytes(TOKEN_LENGTH), socket, signal };
    waiting.add(entry);
    socket.once("close", () => forget(peer, entry));
    const late = clock.timeout(CLAIM_WITHIN);
    late.addEventListener("abort", () => {
      if (forget(peer, entry)) resetSocket(socket);
    });
    control.write(encodeAnnouncement({ token: entry.token, origin }));
  }

  /** @returns whether it was still waiting. */
  function forget(peer: string, entry: Unclaimed): boolean {
    const waiting = unclaimed.get(peer);
    if (waiting?.delete(entry) !== true) return false;
    if (waiting.size === 0) unclaimed.delete(peer);
    return true;
  }

  async function claim(
    { connection, stream }: ExposeStream,
    { token }: ClaimRequest,
  ): Promise<void> {
    const { auth, multiplexed } = connection;
    const peer = peerOf(auth);
    let found: Unclaimed | undefined;
    // All of them, and each in the same time: how long it took tells nothing.
    for (const entry of unclaimed.get(peer) ?? []) {
      if (timingSafeEqual(entry.token, token)) found = entry;
    }
    if (found === undefined || !forget(peer, found)) {
      throw new FlowRefused("refused", "no connection waits there for this claim");
    }
    const { socket, signal } = found;
    stream.write(encodeReply({ kind: "open", body: NOTHING }));
    tell(auth, await join(socket, multiplexed ? stream : framed(stream), { signal }));
  }

  function tell(auth: AuthContext, end: FlowEnd): void {
    if (end.kind === "ended") return;
    logger.debug({ peer: peerOf(auth), by: end.by, err: end.error }, "flow reset");
  }

  return { listen, claim };
}

/** Whether one may keep the other from being listened at. */
function isSamePlace(one: InboundPlace, other: InboundPlace): boolean {
  if ("path" in one || "path" in other) {
    return "path" in one && "path" in other && one.path === other.path;
  }
  return one.port === other.port;
}

async function isDead(connection: Connection, clock: Clock): Promise<boolean> {
  const probe = connection.probe?.();
  if (probe === undefined) return false;
  const late = clock.timeout(probe.patience);
  const isLate = new Promise<boolean>((resolve) => {
    late.addEventListener("abort", () => resolve(true), { once: true });
  });
  return await Promise.race([probe.answered.then((isAlive) => !isAlive), isLate]);
}

function placeOf(request: ListenRequest | UnixRequest): InboundPlace {
  return request.kind === "listen-tcp"
    ? { host: request.host, port: request.port }
    : { path: request.path };
}

function peerOf(auth: AuthContext): string {
  return auth.peer?.id ?? auth.fingerprint ?? "unknown";
}
