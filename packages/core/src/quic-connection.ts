/**
 * A connection over QUIC, on either side: its streams are the engine's, their errors are in our words.
 *
 * @module
 */

import type { QuicCloseReason } from "@alknet/quic/close-reason";
import { describe, QuicConnectionClosed } from "@alknet/quic/close-reason";
import type { QuicConnection } from "@alknet/quic/connection";
import {
  type QuicStream,
  QuicStreamReset,
  QuicStreamStopped,
  type RawStream,
} from "@alknet/quic/stream";
import type { Duplex } from "node:stream";
import type { AuthContext, Credential } from "./access.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode, closeCodeOf } from "./close-code.ts";
import {
  type CloseReason,
  ConnectionClosed,
  type DatagramChannel,
  type OwnedConnection,
  type Probe,
  StreamReset,
  type WaitOptions,
} from "./connection.ts";
import {
  ConnectionLife,
  type ConnectionOwner,
  localReason,
  peerReason,
  transportReason,
} from "./connection-life.ts";
import type { Deadlines } from "./deadlines.ts";
import { formatHostPort } from "./host.ts";
import { Incoming } from "./incoming.ts";
import { formatIp, parseIp } from "./ip-address.ts";
import type { Penalty } from "./limit-values.ts";
import { shadowOnce } from "./shadow.ts";
import { whileMoving } from "./while-moving.ts";

/** Streams that a peer may have open at once, raised to this with use. */
export const PEER_STREAMS = 4_096;

/** The same for whoever is nobody we know. */
export const STRANGER_STREAMS = 16;

/** Bytes of a peer on their way to us, on all streams of a connection together. */
export const PEER_WINDOW: number = 64 * 2 ** 20;

/** The same for whoever is nobody we know, and for everybody in the handshake. */
export const STRANGER_WINDOW: number = 2 ** 20;

/** A connection passes for alive so long after something came, in milliseconds. */
const ALIVE = 100;

/** Least time for a sign of life, in milliseconds: a peer's loop may be busy. */
const MIN_PATIENCE = 300;

export interface QuicOptions extends ConnectionOwner {
  readonly side: "client" | "server";
  /** The handshake is complete. The connection owns it. */
  readonly connection: QuicConnection;
  readonly serverName: string | undefined;
  /** How long `close()` waits for a peer that acknowledges nothing more, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
  /** Receive window once the other side is a peer, in bytes. @default as it is */
  readonly peerWindow?: number | undefined;
  /** Ends the connection as `IDLE` when it has had no stream for so long, and nobody listens for datagrams. */
  readonly idle?: Deadlines | undefined;
}

/** The number that a stream destroyed with `error` sends: for `bind()` of the engine. */
export function resetCodeOf(error: Error | null): number {
  return error === null ? CloseCode.OK : closeCodeOf(error);
}

export function quicConnection(options: QuicOptions): OwnedConnection {
  return new CarriedByQuic(options);
}

class CarriedByQuic implements OwnedConnection {
  readonly alpn: string;
  readonly transport = "quic";
  readonly multiplexed = true;
  readonly serverName: string | undefined;
  readonly datagrams: DatagramChannel | undefined;
  onpenalty: ((penalty: Penalty) => void) | undefined;
  readonly #quic: QuicConnection;
  readonly #drain: number;
  readonly #clock: Clock;
  readonly #life: ConnectionLife;
  readonly #incoming = new Incoming<RawStream>();
  readonly #streams = new Set<QuicStream>();
  /** Most streams of the peer at once, and how many there are. */
  readonly #maxTheirs: number;
  #theirs = 0;
  /** Whether the peer's first byte is still awaited. */
  #unheard: boolean;
  #idle: Deadlines | undefined;
  #stopIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: QuicOptions) {
    const { connection, side } = options;
    this.#quic = connection;
    this.alpn = connection.alpn;
    this.serverName = options.serverName;
    this.#drain = options.drain ?? 2_000;
    this.#clock = options.clock ?? systemClock;
    this.#life = new ConnectionLife(options, (code, reason) => this.abort(code, reason));
    this.#unheard = side === "client";
    if (side === "server") this.#life.accept();
    // A server is whom we dialed, by its key, also where that has no name here.
    const isKnown = side === "client" || options.auth.peer !== undefined;
    this.#maxTheirs = isKnown ? PEER_STREAMS : STRANGER_STREAMS;
    const receiveWindow = options.auth.peer === undefined ? undefined : options.peerWindow;
    connection.setLimits({ maxStreams: this.#maxTheirs, receiveWindow });
    this.#idle = options.idle;
    this.datagrams =
      connection.maxDatagramSize === 0
        ? undefined
        : new QuicDatagrams(connection, () => this.#listening());
    connection.onstream = (stream, unidirectional) => this.#arrived(stream, unidirectional);
    void connection.closed.then((reason) => this.#end(closeReasonOf(reason)));
    this.#watchIdle();
  }

  /** Live: it moves when the peer's address does. */
  get remoteAddress(): string {
    const { remoteAddress, remotePort } = this.#quic;
    const address = parseIp(remoteAddress);
    const host = address === undefined ? remoteAddress : formatIp(address);
    return formatHostPort({ host, port: remotePort });
  }

  get auth(): AuthContext {
    return this.#life.auth;
  }

  get accepted(): Promise<void> {
    return this.#life.accepted;
  }

  get draining(): AbortSignal {
    return this.#life.draining;
  }

  get closed(): Promise<CloseReason> {
    return this.#life.closed;
  }

  authenticate(credential: Credential): AuthContext | undefined {
    return this.#life.authenticate(credential);
  }

  penalize(penalty: Penalty): void {
    this.onpenalty?.(penalty);
  }

  async accept(options: WaitOptions = {}): Promise<Duplex | undefined> {
    const stream = await this.#incoming.take(options);
    return stream && this.#adopt(stream.toDuplex(), () => this.#theirs--);
  }

  async open(options: WaitOptions = {}): Promise<Duplex> {
    if (this.#life.reason !== undefined) throw new ConnectionClosed(this.#life.reason);
    let stream: QuicStream;
    try {
      stream = await this.#quic.open(options);
    } catch (error) {
      throw ours(error as Error);
    }
    if (this.#unheard) {
      onfirstpush(stream, () => this.#heard());
      // The peer's first byte counts also while nobody reads it.
      stream.read(0);
    }
    return this.#adopt(stream, () => {});
  }

  exportKeyingMaterial(label: string, context: Uint8Array, length: number): Uint8Array {
    if (this.#life.reason !== undefined) throw new ConnectionClosed(this.#life.reason);
    return this.#quic.exportKeyingMaterial(label, context, length);
  }

  drain(): void {
    this.#life.drain();
    this.#discardIncoming(CloseCode.DRAINING);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#shutdown());
  }

  refuse(code: number, reason?: string): void {
    this.abort(code, reason);
  }

  get mtu(): number {
    return this.#quic.stats().mtu;
  }

  probe(): Probe | undefined {
    const { silence, rtt } = this.#quic.stats();
    if (silence < ALIVE || this.#life.reason !== undefined) return undefined;
    // With the variation that RFC 9002 §5.3 begins with, and the acknowledgement as late as may be.
    const MAX_ACK_DELAY = 25;
    const timeout = rtt + 4 * (rtt / 2) + MAX_ACK_DELAY;
    return {
      answered: this.#quic.ping(),
      patience: Math.max(MIN_PATIENCE, Math.ceil(3 * timeout)),
    };
  }

  abort(code: number, reason: string = ""): void {
    if (!this.#end(localReason(code, reason))) return;
    this.#quic.close(code, reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #shutdown(): Promise<void> {
    this.#discardIncoming(CloseCode.OK);
    const quic = this.#quic;
    const written = [...this.#streams].map(async (stream) => {
      // What the peer still sends stays with it, as far as it does not fit into the window.
      stream.pause();
      if (stream.writableFinished || stream.destroyed) return;
      const over = new Promise<void>((resolve) => {
        stream.once("finish", resolve);
        stream.once("close", resolve);
      });
      if (!stream.writableEnded) stream.end();
      await over;
    });
    const flushed = Promise.all(written).then(() => quic.flushed());
    // A peer that acknowledges is heard from.
    await whileMoving(flushed, () => quic.stats().bytesReceived, this.#drain, this.#clock);
    this.abort(CloseCode.OK);
  }

  #arrived(stream: RawStream, unidirectional: boolean): void {
    this.#heard();
    if (unidirectional) {
      // No protocol that is served here has them.
      stream.stop(CloseCode.PROTOCOL);
    } else if (this.#theirs >= this.#maxTheirs) {
      letGo(stream, CloseCode.LIMIT);
    } else if (this.#incoming.add(stream)) {
      this.#theirs++;
      this.#watchIdle();
    } else {
      letGo(stream, CloseCode.DRAINING);
    }
  }

  #heard(): void {
    this.#unheard = false;
    this.#life.accept();
  }

  #watchIdle(): void {
    const idle =
      this.#life.reason === undefined && this.#streams.size === 0 && this.#incoming.size === 0;
    if (idle) {
      this.#stopIdle ??= this.#idle?.add(() => this.abort(CloseCode.IDLE));
    } else {
      this.#stopIdle?.();
      this.#stopIdle = undefined;
    }
  }

  /** What comes as datagrams needs no stream. */
  #listening(): void {
    this.#stopIdle?.();
    this.#stopIdle = undefined;
    this.#idle = undefined;
  }

  #discardIncoming(code: number): void {
    for (const stream of this.#incoming.discard()) {
      this.#theirs--;
      letGo(stream, code);
    }
  }

  #adopt(stream: QuicStream, onclose: () => void): QuicStream {
    this.#streams.add(stream);
    this.#watchIdle();
    // A stream may fail while nobody listens: that ends the stream, not the process.
    stream.on("error", () => {});
    stream.once("close", () => {
      this.#streams.delete(stream);
      onclose();
      this.#watchIdle();
    });
    inOurWords(stream);
    return stream;
  }

  #end(reason: CloseReason): boolean {
    if (!this.#life.end(reason)) return false;
    this.#watchIdle();
    // What came before the peer's close can be accepted after it: its bytes had arrived.
    if (reason.by === "local") this.#incoming.discard();
    else this.#incoming.end();
    return true;
  }
}

class QuicDatagrams implements DatagramChannel {
  readonly #quic: QuicConnection;
  readonly #onlisten: () => void;

  constructor(quic: QuicConnection, onlisten: () => void) {
    this.#quic = quic;
    this.#onlisten = onlisten;
  }

  get maxSize(): number {
    return this.#quic.maxDatagramSize;
  }

  send(message: Uint8Array): boolean {
    return this.#quic.sendDatagram(message);
  }

  listen(listener: (message: Uint8Array) => void): void {
    this.#quic.ondatagram = listener;
    this.#onlisten();
  }
}

/** Why the engine's connection ended, in our words. */
export function closeReasonOf(reason: QuicCloseReason): CloseReason {
  switch (reason.kind) {
    case "application":
      return reason.by === "local"
        ? localReason(reason.code, reason.reason)
        : peerReason(reason.code, reason.reason);
    case "transport": {
      if (gaveUpHandshake(reason)) return transportReason("HANDSHAKE_TIMEOUT", TOO_SLOW);
      const CONNECTION_REFUSED = 2;
      const refused = reason.by === "peer" && reason.code === CONNECTION_REFUSED;
      const name = reason.alert !== undefined ? "TLS" : refused ? "REFUSED" : "TRANSPORT";
      return transportReason(name, describe(reason));
    }
    case "timeout":
      return transportReason("TIMEOUT", describe(reason));
    case "reset":
    case "unreachable":
      return transportReason("RESET", describe(reason));
    case "version":
      return transportReason("TRANSPORT", describe(reason));
    case "dropped":
    case "internal":
      return localReason(CloseCode.INTERNAL, describe(reason));
  }
}

/**
 * Whether the peer ended its side of the handshake for a reason of its application, which it may not tell
 * there (RFC 9000 §10.2.3). A node does so when its time for the handshake is over.
 */
export function gaveUpHandshake(reason: QuicCloseReason): boolean {
  const APPLICATION_ERROR = 0xc;
  return reason.kind === "transport" && reason.by === "peer" && reason.code === APPLICATION_ERROR;
}

/** What that means, in words. */
export const TOO_SLOW = "it did not end within the time that the peer gives it";

/** An error of the engine, in our words; any other as it is. */
function ours(error: Error): Error {
  if (error instanceof QuicConnectionClosed) {
    return new ConnectionClosed(closeReasonOf(error.closeReason), { cause: error });
  }
  if (error instanceof QuicStreamReset) return new StreamReset(error.resetCode, { cause: error });
  if (error instanceof QuicStreamStopped) return new StreamReset(error.stopCode, { cause: error });
  return error;
}

/** Have `stream` fail with our errors: every failure goes through `destroy`, and through it once. */
function inOurWords(stream: QuicStream): void {
  shadowOnce(stream, "destroy", (error?: Error | null) =>
    error === undefined || error === null ? stream.destroy() : stream.destroy(ours(error)),
  );
}

/** Call `first` at the first chunk, or the end, that the peer sends. */
function onfirstpush(stream: QuicStream, first: () => void): void {
  shadowOnce(stream, "push", (chunk: unknown, encoding?: BufferEncoding) => {
    first();
    return stream.push(chunk, encoding);
  });
}

function letGo(stream: RawStream, code: number): void {
  stream.stop(code);
  stream.reset(code);
}
