/**
 * Streams that the far side opens on one connection, each for one of the listeners that it has for us.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { Connection } from "@alknet/core/connection";
import type { Origin } from "./inbound.ts";
import { readHead } from "./read-head.ts";
import { FlowRefused } from "./refused.ts";
import { refuseStream } from "./refuse-stream.ts";
import { decodeRequest } from "./wire/open.ts";

/**
 * Takes the stream of one connection to a listener, and where that comes from; the request has been read, and
 * is to be answered. It rejects with `FlowRefused` for that to be the answer.
 */
export type TakeStream = (stream: Duplex, origin: Origin) => Promise<void>;

export interface AcceptedStreams {
  /**
   * A listener is being asked for: what comes for numbers that nobody has waits until it is disposed. The
   * answer is on a stream of its own, and may come later than the first connection.
   */
  expect(): Disposable;
  /** Have `take` get the streams of a listener, until it is disposed. */
  register(listener: number, take: TakeStream): Disposable;
}

/** Time for a request to come, and for a refusal to be read, in milliseconds. */
const DEADLINE = 10_000;

const known = new WeakMap<Connection, AcceptedStreams>();

/** The streams of `connection`, which nobody else may accept. */
export function acceptedStreams(
  connection: Connection,
  clock: Clock = systemClock,
): AcceptedStreams {
  let found = known.get(connection);
  if (found === undefined) {
    found = startAccepting(connection, clock);
    known.set(connection, found);
  }
  return found;
}

function startAccepting(connection: Connection, clock: Clock): AcceptedStreams {
  const takers = new Map<number, TakeStream>();
  const expected = new Set<Promise<void>>();

  async function serve(stream: Duplex): Promise<void> {
    stream.on("error", () => {});
    try {
      const { value } = await readHead(stream, decodeRequest, clock.timeout(DEADLINE));
      if (value.kind !== "accepted") {
        throw new FlowRefused("unsupported", "only connections of listeners are taken here");
      }
      if (!takers.has(value.listener)) await Promise.all(expected);
      const take = takers.get(value.listener);
      if (take === undefined) throw new FlowRefused("refused", "that listener is no more");
      await take(stream, value.origin);
    } catch (error) {
      if (!(error instanceof FlowRefused)) stream.destroy(error as Error);
      else if (!stream.destroyed) await refuseStream(stream, error, clock.timeout(DEADLINE));
    }
  }

  async function accept(): Promise<void> {
    for (;;) {
      const stream = await connection.accept();
      if (stream === undefined) return;
      void serve(stream);
    }
  }
  // It ends with the connection; who listens there hears of that by the stream of the listener.
  accept().catch(() => {});

  return {
    expect() {
      const { promise, resolve } = Promise.withResolvers<void>();
      expected.add(promise);
      return {
        [Symbol.dispose]() {
          expected.delete(promise);
          resolve();
        },
      };
    },
    register(listener, take) {
      takers.set(listener, take);
      return { [Symbol.dispose]: () => void takers.delete(listener) };
    },
  };
}
