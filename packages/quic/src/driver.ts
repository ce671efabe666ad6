/**
 * Between the engine and the objects people hold: takes batches of records and hands each to the
 * connection or stream it is about.
 *
 * Objects are held here as long as something is awaited on them, and weakly otherwise: what is dropped
 * without having been closed is collected, and then closed.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type QuicCloseReason, reasonOf } from "./close-reason.ts";
import { type ConnectionHost, connectionEvents, type QuicConnection } from "./connection.ts";
import { INDEX_MASK, native, Record } from "./native.ts";
import { type RawStream, streamEvents } from "./stream.ts";

/** Bytes of a slab for large reads, and for those up to 4 KiB, which must not keep a large one alive. */
const LARGE = 256 * 1024;
const SMALL = 64 * 1024;
/** Below this much room a slab is replaced. */
const LARGE_ROOM = 64 * 1024;
const SMALL_ROOM = 4 * 1024;
const RECORDS = 1024;
/** What is idle is let go of after this long, should no batch come earlier, in milliseconds. */
const SETTLE = 50;
/** Batches of one wake-up; the engine calls again for the rest. */
const BATCHES = 16;

const FIN = 2 ** 31;
const IN_SMALL = 2 ** 30;
const LENGTH = 2 ** 30 - 1;
const NOTHING = Buffer.alloc(0);

/** What the endpoint wants to hear. */
export interface DriverEvents {
  connected(connection: QuicConnection, id: number): void;
  /** A connection ended before it was ready. */
  dialFailed(id: number, reason: QuicCloseReason): void;
  handshakeFailed(failure: {
    handshake: number;
    address: string;
    port: number;
    validated: boolean;
    reason: QuicCloseReason;
  }): void;
  drained(): void;
  /** The last connection has gone. */
  idle(): void;
  resetCodeOf(error: Error | null): number;
}

interface Held {
  readonly id: number;
  /** While somebody waits for something of it, and at first. */
  strong: QuicConnection | undefined;
  /** Since it was let go of for the first time: most of the short-lived never are. */
  weak: WeakRef<QuicConnection> | undefined;
  /** For those who kept `closed` and nothing else. */
  end: ((reason: QuicCloseReason) => void) | undefined;
}

function connectionOf(held: Held | undefined): QuicConnection | undefined {
  return held?.strong ?? held?.weak?.deref();
}

/** A stream that may be collected. */
interface Loose {
  id: number;
  connection: number;
}

export class Driver implements ConnectionHost {
  /** Set once the engine has given the endpoint its number. */
  endpoint: number = 0;
  readonly #events: DriverEvents;
  readonly #header = new Uint32Array(4);
  readonly #records = new Uint32Array(RECORDS * 4);
  #large: Buffer = Buffer.allocUnsafeSlow(LARGE);
  #small: Buffer = Buffer.allocUnsafeSlow(SMALL);

  /** By the index in the id; checked against the whole id. */
  readonly #streams: (RawStream | undefined)[] = [];
  readonly #looseStreams = new Map<number, WeakRef<RawStream>>();
  readonly #connections = new Map<number, Held>();
  /** Made since the last batch: held until somebody had the time to take them. */
  #freshStreams: RawStream[] = [];
  /** Takes turns with it; empty. */
  #spareStreams: RawStream[] = [];
  #freshConnections: QuicConnection[] = [];
  #settling: NodeJS.Timeout | undefined;
  readonly #registered = new WeakSet<object>();

  // Both are told when what they watch is done: the number may be another one's by the time of a collection.
  readonly #droppedStreams = new FinalizationRegistry<Loose>(({ id, connection }) => {
    if (!this.#looseStreams.delete(id)) return;
    this.#guard(() => {
      native.stop(this.endpoint, id, 0);
      native.reset(this.endpoint, id, 0);
    });
    const owner = connectionOf(this.#connections.get(connection));
    if (owner !== undefined) connectionEvents.streamDropped(owner);
  });
  readonly #droppedConnections = new FinalizationRegistry<Held>((held) => {
    if (this.#connections.get(held.id) !== held) return;
    held.end?.({ kind: "dropped" });
    this.#guard(() => {
      native.dropConnection(this.endpoint, held.id);
      this.#release(held.id);
    });
  });

  constructor(events: DriverEvents) {
    this.#events = events;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Live connections, for closing them with the endpoint. */
  connections(): QuicConnection[] {
    return [...this.#connections.values()].flatMap((held) => connectionOf(held) ?? []);
  }

  /** The endpoint goes: nothing will be told any more. */
  detach(): void {
    this.endpoint = 0;
    clearTimeout(this.#settling);
    this.#freshStreams = [];
    this.#freshConnections = [];
    for (const held of this.#connections.values()) {
      const connection = connectionOf(held);
      if (connection === undefined) held.end?.({ kind: "dropped" });
      else connectionEvents.detached(connection);
    }
    this.#connections.clear();
  }

  resetCodeOf(error: Error | null): number {
    return this.#events.resetCodeOf(error);
  }

  /** The engine has something to tell. */
  wake(): void {
    this.#settle();
    for (let batch = 0; batch < BATCHES; batch++) {
      if (LARGE - this.#header[1]! < LARGE_ROOM) {
        this.#large = Buffer.allocUnsafeSlow(LARGE);
        this.#header[1] = 0;
      }
      if (SMALL - this.#header[2]! < SMALL_ROOM) {
        this.#small = Buffer.allocUnsafeSlow(SMALL);
        this.#header[2] = 0;
      }
      // Destroyed by a listener meanwhile.
      if (this.endpoint === 0) return;
      native.drain(this.endpoint, this.#header, this.#records, this.#large, this.#small);
      const count = this.#header[0]!;
      const more = this.#header[3] !== 0;
      // Unless a listener made the endpoint go.
      for (let at = 0; at < count * 4 && this.endpoint !== 0; at += 4) {
        try {
          this.#handle(at);
        } catch (error) {
          // A listener threw: its own fault, and no reason to lose the other records.
          queueMicrotask(() => {
            throw error;
          });
        }
      }
      if (!more) return;
    }
  }

  #handle(at: number): void {
    const records = this.#records;
    const id = records[at + 1]!;
    const a = records[at + 2]!;
    const b = records[at + 3]!;
    const kind: number = records[at]!;
    switch (kind) {
      case Record.DATA: {
        const stream = this.streamById(id);
        if (stream !== undefined) streamEvents.data(stream, this.#bytes(a, b), b >= FIN);
        return;
      }
      case Record.OPENED: {
        const connection = connectionOf(this.#connections.get(id));
        if (connection !== undefined) connectionEvents.streamOpened(connection, a, b === 1);
        return;
      }
      case Record.FINISHED: {
        const stream = this.streamById(id);
        if (stream !== undefined) streamEvents.finished(stream);
        return;
      }
      case Record.WRITABLE: {
        const stream = this.streamById(id);
        if (stream !== undefined) streamEvents.writable(stream);
        return;
      }
      case Record.RESET: {
        const stream = this.streamById(id);
        if (stream !== undefined) streamEvents.reset(stream, a + b * 2 ** 32);
        return;
      }
      case Record.STOPPED: {
        const stream = this.streamById(id);
        if (stream !== undefined) streamEvents.stopped(stream, a + b * 2 ** 32);
        return;
      }
      case Record.LOST: {
        const stream = this.streamById(id);
        if (stream !== undefined) streamEvents.lost(stream);
        return;
      }
      case Record.AVAILABLE: {
        const connection = connectionOf(this.#connections.get(id));
        if (connection !== undefined) connectionEvents.available(connection, a === 1);
        return;
      }
      case Record.DATAGRAM: {
        const connection = connectionOf(this.#connections.get(id));
        if (connection !== undefined) connectionEvents.datagram(connection, this.#bytes(a, b));
        return;
      }
      case Record.FLUSHED: {
        const connection = connectionOf(this.#connections.get(id));
        if (connection !== undefined) connectionEvents.flushed(connection);
        return;
      }
      case Record.PONG: {
        const connection = connectionOf(this.#connections.get(id));
        if (connection !== undefined) connectionEvents.pong(connection);
        return;
      }
      case Record.CONNECTED:
        return this.#connected(id, a === 1 ? "server" : "client", b);
      case Record.CLOSED:
        return this.#closed(id, a, b);
      case Record.FAILED: {
        const failure = native.takeFailure(this.endpoint);
        if (failure !== null) {
          this.#events.handshakeFailed({ ...failure, reason: reasonOf(failure.reason) });
        }
        return;
      }
      case Record.DRAINED:
        return this.#events.drained();
      default:
        throw new TypeError(`the engine sent a record of unknown kind ${kind}`);
    }
  }

  #bytes(offset: number, flags: number): Buffer {
    const length = flags & LENGTH;
    if (length === 0) return NOTHING;
    const slab = (flags & IN_SMALL) === 0 ? this.#large : this.#small;
    return slab.subarray(offset, offset + length);
  }

  #connected(id: number, side: "client" | "server", handshake: number): void {
    const connection = connectionEvents.create(this, id, side, handshake);
    this.#connections.set(id, { id, strong: connection, weak: undefined, end: undefined });
    this.reconsiderConnection(connection);
    this.#events.connected(connection, id);
  }

  /** `by`: 1 closed by us, 2 by the peer, with `code` and no text; 0: the engine knows more. */
  #closed(id: number, by: number, code: number): void {
    const reason: QuicCloseReason =
      by === 0
        ? reasonOf(native.closeReason(this.endpoint, id))
        : { kind: "application", by: by === 1 ? "local" : "peer", code, reason: "" };
    const held = this.#connections.get(id);
    if (held === undefined) {
      native.release(this.endpoint, id);
      this.#events.dialFailed(id, reason);
      return;
    }
    const connection = connectionOf(held);
    if (connection !== undefined) return connectionEvents.closed(connection, reason);
    held.end?.(reason);
    this.#release(id);
  }

  #release(id: number): void {
    const held = this.#connections.get(id);
    if (held === undefined) return;
    this.#connections.delete(id);
    if (held.weak !== undefined) this.#droppedConnections.unregister(held);
    native.release(this.endpoint, id);
    if (this.#connections.size === 0) this.#events.idle();
  }

  #settleLater(): void {
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      this.#settle();
    }, SETTLE);
    this.#settling.unref();
  }

  /** Nothing can be told to an endpoint that is gone. */
  #guard(f: () => void): void {
    if (this.endpoint !== 0) f();
  }

  /** Let go of what was made before and is not awaited. */
  #settle(): void {
    if (this.#freshStreams.length > 0) {
      const fresh = this.#freshStreams;
      // No literal: V8 would make one in each batch old at once, with all the streams in it.
      this.#freshStreams = this.#spareStreams;
      for (const stream of fresh) streamEvents.settled(stream);
      fresh.length = 0;
      this.#spareStreams = fresh;
    }
    if (this.#freshConnections.length > 0) {
      const fresh = this.#freshConnections;
      this.#freshConnections = [];
      for (const connection of fresh) connectionEvents.settled(connection);
    }
  }

  // --- ConnectionHost ---

  streamById(id: number): RawStream | undefined {
    const stream = this.#streams[id & INDEX_MASK];
    if (stream !== undefined && stream.id === id) return stream;
    return this.#looseStreams.size === 0 ? undefined : this.#looseStreams.get(id)?.deref();
  }

  addStream(stream: RawStream): void {
    this.#streams[stream.id & INDEX_MASK] = stream;
    this.reconsiderStream(stream);
  }

  keepStream(stream: RawStream): void {
    if (stream.id === 0) return;
    this.#looseStreams.delete(stream.id);
    this.#streams[stream.id & INDEX_MASK] = stream;
  }

  loosenStream(stream: RawStream): void {
    const { id } = stream;
    if (id === 0 || this.#streams[id & INDEX_MASK] !== stream) return;
    this.#streams[id & INDEX_MASK] = undefined;
    this.#looseStreams.set(id, new WeakRef(stream));
    if (!this.#registered.has(stream)) {
      this.#registered.add(stream);
      const connection = streamEvents.connectionIdOf(stream);
      this.#droppedStreams.register(stream, { id, connection }, stream);
    }
  }

  reconsiderStream(stream: RawStream): void {
    this.#freshStreams.push(stream);
    if (this.#settling === undefined) this.#settleLater();
  }

  forgetStream(stream: RawStream): boolean {
    const { id } = stream;
    if (id === 0) return false;
    const index = id & INDEX_MASK;
    if (this.#registered.delete(stream)) this.#droppedStreams.unregister(stream);
    if (this.#streams[index] === stream) {
      this.#streams[index] = undefined;
      return true;
    }
    return this.#looseStreams.get(id)?.deref() === stream && this.#looseStreams.delete(id);
  }

  keepConnection(connection: QuicConnection): void {
    const held = this.#connections.get(connectionEvents.idOf(connection));
    if (held !== undefined) held.strong = connection;
  }

  loosenConnection(connection: QuicConnection): void {
    const held = this.#connections.get(connectionEvents.idOf(connection));
    if (held === undefined) return;
    if (held.weak === undefined) {
      held.weak = new WeakRef(connection);
      this.#droppedConnections.register(connection, held, held);
    }
    held.strong = undefined;
  }

  reconsiderConnection(connection: QuicConnection): void {
    this.#freshConnections.push(connection);
    if (this.#settling === undefined) this.#settleLater();
  }

  endConnectionWith(connection: QuicConnection, end: (reason: QuicCloseReason) => void): void {
    const held = this.#connections.get(connectionEvents.idOf(connection));
    if (held !== undefined) held.end = end;
  }

  forgetConnection(connection: QuicConnection): void {
    this.#release(connectionEvents.idOf(connection));
  }
}
