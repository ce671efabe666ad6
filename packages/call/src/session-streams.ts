/**
 * Which stream a frame goes on. Small calls share one; a subscription, or a large request, has its own where
 * the carrier has many, so that what holds up or loses one is no concern of the others.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { type Connection, StreamLimit } from "@alknet/core/connection";
import { CallStream, type StreamHost, streamError } from "./call-stream.ts";
import type { Outgoing } from "./outgoing-calls.ts";
import type { Frame } from "./wire/frame.ts";

/** Streams of ours that one call each has, at once: what the peer grants is for others too. */
const MAX_OWN = 16;

/** Requests above this have their own stream, in bytes. */
const LARGE = 65_536;

export class SessionStreams {
  readonly #connection: Connection;
  readonly #host: StreamHost;
  /** Those in use, and the calls of ours that were sent on each and have not ended. */
  readonly #streams = new Map<CallStream, Set<Outgoing>>();
  readonly #own = new Set<CallStream>();
  #shared: CallStream | undefined;

  constructor(connection: Connection, host: StreamHost) {
    this.#connection = connection;
    this.#host = host;
  }

  get size(): number {
    return this.#streams.size;
  }

  [Symbol.iterator](): IterableIterator<CallStream> {
    return this.#streams.keys();
  }

  /** Take what the peer opens, until there will be none. */
  async accept(): Promise<void> {
    if (!this.#connection.multiplexed) {
      this.#shared = this.#add();
      return await this.#openInto(this.#shared);
    }
    for (;;) {
      const duplex = await this.#connection.accept();
      if (duplex === undefined) return;
      this.#add().attach(duplex);
    }
  }

  /** Send the request of `call`, and tell it where that went. */
  request(call: Outgoing, frame: Frame, isSubscription: boolean): void {
    const wantsOwn = isSubscription || frame.length > LARGE;
    if (!wantsOwn || !this.#connection.multiplexed || this.#own.size >= MAX_OWN) {
      return this.#put(call, frame, this.#sharedStream());
    }
    void this.#requestOnOwn(call, frame);
  }

  /** Send what belongs to `call` and is no request. */
  follow(call: Outgoing, frame: Frame): void {
    const { stream } = call;
    (stream === undefined || stream.unusable ? this.#sharedStream() : stream).send(frame);
  }

  /** Have the peer stop what it does for `call`. */
  abort(call: Outgoing, frame: Frame, reason: Error): void {
    const { stream } = call;
    // A request that has not left needs no abort.
    if (stream === undefined) return;
    if (!stream.cancel(call.frame)) this.follow(call, frame);
    if (this.#own.has(stream)) stream.destroy(reason);
  }

  /** The call has ended, and shares no more in the fate of its stream. */
  leave(call: Outgoing): void {
    if (call.stream !== undefined) this.#streams.get(call.stream)?.delete(call);
  }

  /** The stream is gone. @returns the calls of ours that were sent on it and have not ended. */
  forget(stream: CallStream): Iterable<Outgoing> {
    const calls = this.#streams.get(stream) ?? [];
    this.#streams.delete(stream);
    this.#own.delete(stream);
    if (this.#shared === stream && this.#connection.multiplexed) this.#shared = undefined;
    return calls;
  }

  #sharedStream(): CallStream {
    const shared = this.#shared;
    if (shared !== undefined && !shared.unusable) return shared;
    const stream = (this.#shared = this.#add());
    void this.#openInto(stream);
    return stream;
  }

  #add(): CallStream {
    const stream = new CallStream(this.#host);
    this.#streams.set(stream, new Set());
    return stream;
  }

  async #openInto(stream: CallStream): Promise<void> {
    try {
      stream.attach(await this.#openOrTake());
    } catch (error) {
      stream.destroy(error as Error);
    }
  }

  async #openOrTake(): Promise<Duplex> {
    try {
      return await this.#connection.open();
    } catch (error) {
      if (!(error instanceof StreamLimit)) throw error;
    }
    // Of a connection with one stream, who dialed opens it, and the other side takes it.
    const duplex = await this.#connection.accept();
    if (duplex === undefined) throw streamError("OK", "the connection ended before it was used");
    return duplex;
  }

  async #requestOnOwn(call: Outgoing, frame: Frame): Promise<void> {
    const giveUp = new AbortController();
    // What is not to be had at once may take forever: the peer's limit is reached.
    setImmediate(() => giveUp.abort());
    const duplex = await this.#connection.open({ signal: giveUp.signal }).catch(() => undefined);
    if (call.ended) return void duplex?.destroy();
    if (duplex === undefined) return this.#put(call, frame, this.#sharedStream());
    const stream = this.#add();
    this.#own.add(stream);
    this.#put(call, frame, stream);
    stream.attach(duplex);
    stream.end();
  }

  #put(call: Outgoing, frame: Frame, stream: CallStream): void {
    call.stream = stream;
    call.frame = stream.send(frame);
    this.#streams.get(stream)?.add(call);
  }
}
