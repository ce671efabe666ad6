/**
 * Two connections that are each other's ends, in one process: many streams, as on QUIC.
 *
 * @module
 */

import { hkdfSync, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { AuthContext, Credential } from "./access.ts";
import { type Clock, systemClock } from "./clock.ts";
import { CloseCode } from "./close-code.ts";
import {
  type CloseReason,
  ConnectionClosed,
  type DatagramChannel,
  type OwnedConnection,
  type WaitOptions,
} from "./connection.ts";
import {
  ConnectionLife,
  type ConnectionOwner,
  localReason,
  peerReason,
} from "./connection-life.ts";
import { Incoming } from "./incoming.ts";
import type { Penalty } from "./limit-values.ts";
import { MemoryStream, memoryStreams } from "./memory-stream.ts";
import { whileMoving } from "./while-moving.ts";

export interface MemoryOptions {
  readonly alpn: string;
  readonly serverName?: string | undefined;
  /** Whom each end takes the other for. */
  readonly client: ConnectionOwner;
  readonly server: ConnectionOwner;
  /** Streams that each end may have open at once. @default 64 */
  readonly maxStreams?: number | undefined;
  /** Bytes that a stream holds for a reader. @default 65_536 */
  readonly window?: number | undefined;
  /** How long `close()` waits for a peer that takes nothing more, in milliseconds. @default 2_000 */
  readonly drain?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** Longest datagram, in bytes: about what a path on the Internet carries. */
const MAX_DATAGRAM = 1_200;

/** Most bytes of datagrams under way to one end. */
const DATAGRAM_BUFFER = 2 ** 20;

/** Connect a client and a server. */
export function memoryConnections(options: MemoryOptions): {
  client: OwnedConnection;
  server: OwnedConnection;
} {
  const secret = randomBytes(32);
  const client = new MemoryConnection("client", options, secret);
  const server = new MemoryConnection("server", options, secret);
  client.join(server);
  server.join(client);
  return { client, server };
}

class MemoryConnection implements OwnedConnection {
  readonly alpn: string;
  readonly transport = "memory";
  readonly multiplexed = true;
  readonly remoteAddress = undefined;
  readonly serverName: string | undefined;
  onpenalty: ((penalty: Penalty) => void) | undefined;
  readonly #window: number;
  readonly #drain: number;
  readonly #clock: Clock;
  readonly #secret: Buffer;
  readonly #life: ConnectionLife;
  readonly #streams = new Set<MemoryStream>();
  readonly #incoming = new Incoming<MemoryStream>();
  /** Turns to open a stream, one for each that the other end would still take. */
  readonly #turns = new Incoming<true>();
  readonly #datagrams: MemoryDatagrams;
  #far: MemoryConnection | undefined;
  #moved = 0;
  #closing: Promise<void> | undefined;

  constructor(side: "client" | "server", options: MemoryOptions, secret: Buffer) {
    this.alpn = options.alpn;
    this.serverName = options.serverName;
    this.#window = options.window ?? 65_536;
    this.#drain = options.drain ?? 2_000;
    this.#clock = options.clock ?? systemClock;
    this.#secret = secret;
    this.#life = new ConnectionLife(options[side], (code, reason) => this.abort(code, reason));
    if (side === "server") this.#life.accept();
    for (let i = options.maxStreams ?? 64; i > 0; i--) this.#turns.add(true);
    this.#datagrams = new MemoryDatagrams();
  }

  join(far: MemoryConnection): void {
    this.#far = far;
    this.#datagrams.join(far.#datagrams);
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

  get datagrams(): DatagramChannel {
    return this.#datagrams;
  }

  authenticate(credential: Credential): AuthContext | undefined {
    return this.#life.authenticate(credential);
  }

  penalize(penalty: Penalty): void {
    this.onpenalty?.(penalty);
  }

  async accept(options: WaitOptions = {}): Promise<Duplex | undefined> {
    return await this.#incoming.take(options);
  }

  async open(options: WaitOptions = {}): Promise<Duplex> {
    this.#throwIfEnded();
    await this.#turns.take(options);
    this.#throwIfEnded();
    const far = this.#far!;
    let announced = false;
    const announce = (): void => {
      if (announced) return;
      announced = true;
      far.#arrived(theirs);
    };
    const moved = (bytes: number): void => {
      this.#moved += bytes;
      far.#moved += bytes;
    };
    const [ours, theirs] = memoryStreams(this.#window, announce, moved);
    ours.onarrival = () => this.#life.accept();
    let open = 2;
    const closed = (): void => {
      if (--open === 0) this.#turns.add(true);
    };
    for (const [connection, stream] of [
      [this, ours],
      [far, theirs],
    ] as const) {
      connection.#streams.add(stream);
      stream.once("close", () => {
        connection.#streams.delete(stream);
        closed();
      });
    }
    return ours;
  }

  exportKeyingMaterial(label: string, context: Uint8Array, length: number): Uint8Array {
    return new Uint8Array(hkdfSync("sha256", this.#secret, context, label, length));
  }

  drain(): void {
    this.#life.drain();
    for (const stream of this.#incoming.discard()) stream.destroy(closedWith(CloseCode.DRAINING));
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#shutdown());
  }

  refuse(code: number, reason?: string): void {
    this.abort(code, reason);
  }

  abort(code: number, reason: string = ""): void {
    if (!this.#life.end(localReason(code, reason))) return;
    this.#end(true);
    const far = this.#far!;
    if (far.#life.end(peerReason(code, reason))) far.#end(false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #throwIfEnded(): void {
    if (this.#life.reason !== undefined) throw new ConnectionClosed(this.#life.reason);
  }

  #arrived(stream: MemoryStream): void {
    this.#life.accept();
    if (!this.#incoming.add(stream)) stream.destroy(closedWith(CloseCode.DRAINING));
  }

  async #shutdown(): Promise<void> {
    for (const stream of this.#incoming.discard()) stream.destroy(closedWith(CloseCode.OK));
    const finished = [...this.#streams].map(async (stream) => {
      const done = written(stream);
      stream.finish();
      await done;
    });
    // What the other end has taken is what QUIC calls acknowledged.
    await whileMoving(Promise.all(finished), () => this.#moved, this.#drain, this.#clock);
    this.abort(CloseCode.OK);
  }

  /** @param local we ended it: nothing that has come is wanted any more. */
  #end(local: boolean): void {
    this.#turns.end();
    this.#datagrams.end();
    // A stream that came before the peer's close can be accepted after it: its bytes had arrived.
    if (local) this.#incoming.discard();
    else this.#incoming.end();
    const error = new ConnectionClosed(this.#life.reason!);
    for (const stream of this.#streams) {
      if (local) stream.abandon(error);
      else stream.lose(error);
    }
  }
}

/** Resolves when all that was written to `stream` has been taken, or it has failed. */
async function written(stream: MemoryStream): Promise<void> {
  if (stream.writableFinished || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    stream.once("finish", resolve);
    stream.once("close", resolve);
  });
}

class MemoryDatagrams implements DatagramChannel {
  readonly maxSize = MAX_DATAGRAM;
  #far: MemoryDatagrams | undefined;
  #listener: ((message: Uint8Array) => void) | undefined;
  #underWay = 0;

  join(far: MemoryDatagrams): void {
    this.#far = far;
  }

  end(): void {
    this.#far = undefined;
  }

  send(message: Uint8Array): boolean {
    const far = this.#far;
    if (far === undefined || message.length > MAX_DATAGRAM) return false;
    if (this.#underWay + message.length > DATAGRAM_BUFFER) return false;
    this.#underWay += message.length;
    const copy = Uint8Array.from(message);
    setImmediate(() => {
      this.#underWay -= copy.length;
      far.#listener?.(copy);
    });
    return true;
  }

  listen(listener: (message: Uint8Array) => void): void {
    this.#listener = listener;
  }
}

function closedWith(code: number): ConnectionClosed {
  return new ConnectionClosed(localReason(code));
}
