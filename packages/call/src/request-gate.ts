/**
 * Requests that wait because answers do: while the peer does not take what it has asked for, nothing more is
 * begun for it on that stream.
 *
 * Then reading stops too, but only while we wait for no answers ourselves: two ends that both stop reading
 * until the other reads would wait forever. What comes meanwhile is held, then refused, then cut off.
 *
 * @module
 */

import { type CallError, type CallErrorCode, remoteError } from "./call-error.ts";
import { type CallStream, streamError } from "./call-stream.ts";
import type { Requested } from "./wire/event.ts";

export interface RequestGateOptions {
  /** Whether little enough waits to be sent on a stream; else its requests are held. */
  readonly hasRoom: (stream: CallStream) => boolean;
  /** Whether reading may stop: we wait for nothing that would come. */
  readonly mayPause: () => boolean;
  readonly admit: (stream: CallStream, request: Requested, bytes: number) => void;
  readonly refuse: (stream: CallStream, id: string, error: CallError) => void;
}

/** Held requests from which on reading stops, and their bytes. */
const PAUSE = { requests: 1_024, bytes: 2 ** 20 };

/** Held requests from which on others are refused, and their bytes. */
const REFUSE = { requests: 16_384, bytes: 16 * 2 ** 20 };

/** Refusals that may wait to be sent on a stream. */
const MAX_REFUSALS = 16_384;

interface Held {
  readonly requests: Map<string, { request: Requested; readonly bytes: number }>;
  bytes: number;
  refusals: number;
}

export class RequestGate {
  readonly #options: RequestGateOptions;
  readonly #held = new Map<CallStream, Held>();

  constructor(options: RequestGateOptions) {
    this.#options = options;
  }

  /** Requests that are held. */
  get size(): number {
    let size = 0;
    for (const { requests } of this.#held.values()) size += requests.size;
    return size;
  }

  holds(stream: CallStream): boolean {
    return this.#held.has(stream);
  }

  arrive(stream: CallStream, request: Requested, bytes: number): void {
    if (this.#held.has(stream) || !this.#options.hasRoom(stream)) {
      return this.#hold(stream, request, bytes);
    }
    this.#options.admit(stream, request, bytes);
  }

  /** Answer a request with an error. Who does not take the answers is cut off in the end. */
  refuse(stream: CallStream, id: string, code: CallErrorCode, message: string): void {
    this.#options.refuse(stream, id, remoteError(code, message));
    if (this.#options.hasRoom(stream)) return;
    if (++this.#heldOf(stream).refusals <= MAX_REFUSALS) return;
    stream.destroy(streamError("LIMIT", "the peer does not take what it asks for"));
  }

  /** All that waited on `stream` has gone. */
  drained(stream: CallStream): void {
    const held = this.#held.get(stream);
    if (held === undefined) return;
    held.refusals = 0;
    for (const [id, { request, bytes }] of held.requests) {
      if (!this.#options.hasRoom(stream)) return;
      held.requests.delete(id);
      held.bytes -= bytes;
      this.#options.admit(stream, request, bytes);
    }
    this.#held.delete(stream);
    stream.resume();
  }

  /** @returns false if no such request is held. */
  abort(id: string): boolean {
    for (const held of this.#held.values()) {
      const entry = held.requests.get(id);
      if (entry === undefined) continue;
      held.requests.delete(id);
      held.bytes -= entry.bytes;
      return true;
    }
    return false;
  }

  /** The subscriber has room for more items, before its first. @returns false if no such request is held. */
  credit(id: string, items: number): boolean {
    for (const { requests } of this.#held.values()) {
      const entry = requests.get(id);
      if (entry === undefined) continue;
      const { window } = entry.request;
      if (window !== undefined) entry.request = { ...entry.request, window: window + items };
      return true;
    }
    return false;
  }

  /** Read on: we wait for an answer now. */
  resume(): void {
    for (const stream of this.#held.keys()) stream.resume();
  }

  forget(stream: CallStream): void {
    this.#held.delete(stream);
  }

  #hold(stream: CallStream, request: Requested, bytes: number): void {
    const held = this.#heldOf(stream);
    const { requests } = held;
    const isFull = requests.size >= REFUSE.requests || held.bytes + bytes > REFUSE.bytes;
    if (isFull && requests.size > 0) {
      return this.refuse(stream, request.id, "LIMIT", "too many calls wait to begin");
    }
    if (requests.has(request.id)) {
      return this.refuse(stream, request.id, "INVALID_INPUT", "a call with this id is open");
    }
    requests.set(request.id, { request, bytes });
    held.bytes += bytes;
    const isMuch = requests.size >= PAUSE.requests || held.bytes >= PAUSE.bytes;
    if (isMuch && this.#options.mayPause()) stream.pause();
  }

  #heldOf(stream: CallStream): Held {
    let held = this.#held.get(stream);
    if (held === undefined) {
      this.#held.set(stream, (held = { requests: new Map(), bytes: 0, refusals: 0 }));
    }
    return held;
  }
}
