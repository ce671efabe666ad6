/**
 * The peer's calls: what is being answered, and the answers on their way.
 *
 * An answer that is there at once costs no table, no deadline and no promise.
 *
 * @module
 */

import type { Clock } from "@alknet/core/clock";
import type { Logger } from "@alknet/core/log";
import { CallDeadlines } from "./call-deadlines.ts";
import { CallError, remoteError } from "./call-error.ts";
import type { CallLimits } from "./call-limits.ts";
import type { CallStream } from "./call-stream.ts";
import { Incoming, type IncomingHost } from "./incoming.ts";
import { EventItem, OutputStream } from "./output-stream.ts";
import { produce } from "./produce.ts";
import type { CallSession, Dispatch } from "./session.ts";
import { asciiText, encodeCompleted, encodeError, encodeResponded } from "./wire/encode-event.ts";
import type { Requested } from "./wire/event.ts";
import type { Frame } from "./wire/frame.ts";

export interface IncomingCallsOptions {
  readonly session: CallSession;
  readonly dispatch: Dispatch;
  readonly limits: CallLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether little enough waits to be sent on a stream to make more items. */
  readonly hasRoom: (stream: CallStream) => boolean;
  /** Called when a call has ended, or has become a subscription. */
  readonly onend: (stream: CallStream) => void;
}

export class IncomingCalls implements IncomingHost {
  readonly session: CallSession;
  readonly clock: Clock;
  readonly deadlines: CallDeadlines<Incoming>;
  readonly #dispatch: Dispatch;
  readonly #limits: CallLimits;
  readonly #logger: Logger;
  readonly #hasRoom: (stream: CallStream) => boolean;
  readonly #onend: (stream: CallStream) => void;
  readonly #table = new Map<string, Incoming>();
  /** Those in the table by the stream that they are answered on. */
  readonly #byStream = new Map<CallStream, Set<Incoming>>();
  /** Handlers that have not returned, and the bytes of their requests. */
  #running = 0;
  #bytes = 0;
  #awaited = 0;

  constructor(options: IncomingCallsOptions) {
    this.session = options.session;
    this.clock = options.clock;
    this.#dispatch = options.dispatch;
    this.#limits = options.limits;
    this.#logger = options.logger;
    this.#hasRoom = options.hasRoom;
    this.#onend = options.onend;
    this.deadlines = new CallDeadlines(this.clock, (call) => this.fail(call, timedOut()));
  }

  get callTime(): number {
    return this.#limits.callTime;
  }

  /** Calls and subscriptions that are not answered. */
  get size(): number {
    return this.#table.size;
  }

  get running(): number {
    return this.#running;
  }

  /** Calls that are not answered; subscriptions aside, which may never be. */
  get unanswered(): number {
    return this.#awaited;
  }

  /** @param bytes length of the request. */
  request(stream: CallStream, request: Requested, bytes: number): void {
    const call = new Incoming(this, stream, request, bytes);
    const refusal = this.#refusal(call);
    if (refusal !== undefined) return this.#send(call, encodeError(call.idText, refusal));
    this.#running++;
    this.#bytes += bytes;
    let answer: unknown;
    try {
      answer = this.#dispatch(call);
      if (!(answer instanceof Promise) && isThenable(answer)) answer = Promise.resolve(answer);
    } catch (error) {
      return this.#failed(call, error);
    }
    if (!(answer instanceof Promise || answer instanceof OutputStream)) {
      return this.#answered(call, answer);
    }
    if (!call.ended) this.#list(call);
    if (answer instanceof OutputStream) return this.#answered(call, answer);
    answer.then(
      (output) => this.#answered(call, output),
      (error: unknown) => this.#failed(call, error),
    );
  }

  /** Answer a request that is none. */
  refuse(stream: CallStream, id: string, error: CallError): void {
    stream.send(encodeError(asciiText(id), error));
  }

  /** The peer has room for more items. @returns false if the call is not known. */
  credit(id: string, items: number): boolean {
    const call = this.#table.get(id);
    if (call === undefined) return false;
    call.credit += items;
    call.wake();
    return true;
  }

  /** The peer has cancelled. @returns false if the call is not known. */
  abort(id: string): boolean {
    const call = this.#table.get(id);
    if (call === undefined) return false;
    this.#end(call);
    call.abort(CANCELLED);
    return true;
  }

  /** A call is being answered on it. */
  isAnsweringOn(stream: CallStream): boolean {
    const onStream = this.#byStream.get(stream);
    return onStream !== undefined && onStream.size > 0;
  }

  /** The stream is gone: nobody is there to be answered on it any more. */
  lose(stream: CallStream, error: Error): void {
    const onStream = this.#byStream.get(stream);
    if (onStream === undefined) return;
    this.#byStream.delete(stream);
    this.#loseEach(onStream, error);
  }

  /** The connection is gone. Takes no more calls. */
  loseAll(error: Error): void {
    this.#loseEach(this.#table.values(), error);
    this.deadlines.close();
  }

  fail(call: Incoming, error: unknown): void {
    if (call.ended) return;
    this.#sendError(call, error);
    this.#end(call);
    call.abort(error instanceof Error ? error : new Error(String(error)));
  }

  listenerFailed(call: Incoming, error: unknown): void {
    this.#logger.error({ ...fieldsOf(call), err: error }, "a listener of an aborted call failed");
  }

  #loseEach(calls: Iterable<Incoming>, error: Error): void {
    for (const call of calls) {
      this.#end(call);
      call.abort(error);
    }
  }

  #refusal(call: Incoming): CallError | undefined {
    const { incomingCalls, incomingBytes } = this.#limits;
    if (this.#table.has(call.id)) {
      return remoteError("INVALID_INPUT", "a call with this id is open");
    }
    if (this.#running >= incomingCalls) {
      return remoteError("LIMIT", `too many calls are open: expected at most ${incomingCalls}`);
    }
    // One is always let in: whatever it is, it is within the bound of a frame.
    if (this.#running > 0 && this.#bytes + call.bytes > incomingBytes) {
      const text = `too much input in open calls: expected at most ${incomingBytes} bytes`;
      return remoteError("LIMIT", text);
    }
    return undefined;
  }

  #list(call: Incoming): void {
    call.listed = true;
    call.awaited = true;
    this.#awaited++;
    this.#table.set(call.id, call);
    let onStream = this.#byStream.get(call.stream);
    if (onStream === undefined) this.#byStream.set(call.stream, (onStream = new Set()));
    onStream.add(call);
    this.deadlines.add(call);
  }

  /** The handler has returned. */
  #answered(call: Incoming, output: unknown): void {
    if (output instanceof OutputStream) return void this.#follow(call, output);
    if (!call.ended) {
      this.#sendOutput(call, output);
      this.#end(call);
    }
    this.#returned(call);
  }

  #failed(call: Incoming, error: unknown): void {
    if (!call.ended) {
      this.#sendError(call, error);
      this.#end(call);
    }
    this.#returned(call);
  }

  async #follow(call: Incoming, { items }: OutputStream): Promise<void> {
    call.subscribed();
    this.#awaitNoMore(call);
    this.#onend(call.stream);
    try {
      await produce(call, items, {
        send: (item) => this.#sendItem(call, item),
        hasRoom: () => this.#hasRoom(call.stream),
        failedLate: (error) =>
          this.#logger.warn({ ...fieldsOf(call), err: error }, "a cancelled subscription failed"),
      });
      if (!call.ended) {
        this.#send(call, encodeCompleted(call.idText));
        this.#end(call);
      }
      this.#returned(call);
    } catch (error) {
      this.#failed(call, error);
    }
  }

  #sendOutput(call: Incoming, output: unknown): void {
    try {
      this.#send(call, encodeResponded(call.idText, output));
    } catch (error) {
      this.#sendError(call, error);
    }
  }

  /** @throws what the item cannot be sent for. */
  #sendItem(call: Incoming, item: unknown): void {
    const isNamed = item instanceof EventItem;
    const output: unknown = isNamed ? item.output : item;
    this.#send(call, encodeResponded(call.idText, output, isNamed ? item.eventId : undefined));
  }

  #sendError(call: Incoming, error: unknown): void {
    if (error instanceof CallError) {
      try {
        return this.#send(call, encodeError(call.idText, error));
      } catch (cause) {
        this.#logger.error({ ...fieldsOf(call), err: cause }, "details of an error cannot be sent");
      }
    } else {
      this.#logger.error({ ...fieldsOf(call), err: error }, "call failed");
    }
    this.#send(call, encodeError(call.idText, internalError()));
  }

  #send(call: Incoming, frame: Frame): void {
    call.stream.send(frame);
  }

  /** No answer is sent any more. */
  #end(call: Incoming): void {
    call.ended = true;
    if (!call.listed) return;
    this.#table.delete(call.id);
    this.#byStream.get(call.stream)?.delete(call);
    this.deadlines.remove(call);
    this.#awaitNoMore(call);
    this.#onend(call.stream);
  }

  #awaitNoMore(call: Incoming): void {
    if (!call.awaited) return;
    call.awaited = false;
    this.#awaited--;
  }

  #returned(call: Incoming): void {
    this.#running--;
    this.#bytes -= call.bytes;
  }
}

/** Why a handler is aborted whose caller has cancelled. One for all: where it is made there is nothing to see. */
const CANCELLED = new DOMException("the caller has cancelled the call", "AbortError");

function timedOut(): CallError {
  return remoteError("TIMEOUT", "request timed out");
}

/** What the peer is told of a fault whose text is for our log alone. */
function internalError(): CallError {
  return remoteError("INTERNAL", "internal error");
}

function fieldsOf({ id, operation }: Incoming): object {
  return { call: id, operation };
}

function isThenable(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as { then?: unknown }).then === "function"
  );
}
