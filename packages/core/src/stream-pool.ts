/**
 * Streams on shared connections: one connection for all that want the same, closed some time after its
 * last stream. A connection that has only one stream is not shared.
 *
 * A shared connection may have died without a word: the peer vanished, a router forgot it. Who opens a stream
 * on one that has been silent gets it at once, and the peer is asked for a sign of life meanwhile. When that
 * is overdue, a fresh connection is dialed, and the first that answers is the one for all from then on. If
 * that is the fresh one, streams that were opened in doubt end as by a time-out, and earlier ones go on: the
 * path may come back.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { Clock } from "./clock.ts";
import { ConnectionClosed, type OwnedConnection, type WaitOptions } from "./connection.ts";
import { transportReason } from "./connection-life.ts";

/** What is wanted, and how to get it when it is not there yet. */
export interface PoolKey {
  readonly id: string;
  connect(signal: AbortSignal): Promise<OwnedConnection>;
}

export interface PooledStream {
  readonly stream: Duplex;
  readonly connection: OwnedConnection;
}

export interface PoolOptions {
  /** How long a connection without a stream is kept, in milliseconds. @default 30_000 */
  readonly idle?: number | undefined;
  readonly clock: Clock;
}

export interface StreamPool {
  open(key: PoolKey, options?: WaitOptions): Promise<PooledStream>;
  /** Connections without a stream are closed now, the others after their last one. */
  close(): void;
}

interface Shared {
  readonly connection: OwnedConnection;
  streams: number;
  idleSince: number;
  armed: boolean;
  /** Whether it has lost its place to another: it ends with its last stream. */
  replaced: boolean;
  doubt: Doubt | undefined;
}

/** A connection was silent when a stream was opened on it, and has not answered yet. */
interface Doubt {
  /** Opened since then: nothing has come on them. */
  readonly streams: Set<Duplex>;
  /** Resolves at its sign of life. */
  readonly answered: Promise<void>;
  /** Aborts if another connection takes its place. */
  readonly lost: AbortController;
  overdue: boolean;
  /** The dial of another, in a race with the answer. */
  contest: Promise<void> | undefined;
}

/** A connection on its way, and how many wait for it. */
interface Dialing {
  readonly promise: Promise<OwnedConnection>;
  readonly abort: AbortController;
  waiting: number;
  /** Whether a connection with one stream has found its taker. */
  taken: boolean;
}

export function streamPool({ idle = 30_000, clock }: PoolOptions): StreamPool {
  const shared = new Map<string, Shared>();
  const dialing = new Map<string, Dialing>();
  let closed = false;

  async function open(key: PoolKey, { signal }: WaitOptions = {}): Promise<PooledStream> {
    signal?.throwIfAborted();
    const known = shared.get(key.id);
    if (known?.doubt?.overdue === true) {
      await unlessAborted(contest(known, known.doubt, key), signal);
      return await open(key, { signal });
    }
    if (known !== undefined) {
      watch(known, key);
      try {
        return await streamOf(known, signal);
      } catch (error) {
        // It died while nobody looked, and nothing was sent: another will do.
        if (!(error instanceof ConnectionClosed)) throw error;
        drop(key.id, known);
        return await open(key, { signal });
      }
    }
    const connection = await joined(key, signal);
    if (!connection.multiplexed) return await single(connection, signal);
    return await streamOf(share(key.id, connection), signal);
  }

  /** The connection that is being dialed for this key, by us or by others before. */
  async function joined(key: PoolKey, signal: AbortSignal | undefined): Promise<OwnedConnection> {
    let dial = dialing.get(key.id);
    if (dial === undefined) {
      const abort = new AbortController();
      const promise = key.connect(abort.signal);
      dial = { promise, abort, waiting: 0, taken: false };
      dialing.set(key.id, dial);
      const forget = (): void => {
        if (dialing.get(key.id) === dial) dialing.delete(key.id);
      };
      promise.then(forget, forget);
    }
    dial.waiting++;
    try {
      const connection = await unlessAborted(dial.promise, signal);
      if (connection.multiplexed) return connection;
      // One stream for the first who asked; everybody else dials alone.
      if (!dial.taken) {
        dial.taken = true;
        return connection;
      }
    } catch (error) {
      dial.waiting--;
      // Nobody wants it any more. One who did may have got it: then it is not being dialed.
      if (dial.waiting === 0) abandon(key.id, dial, error);
      throw error;
    }
    return await key.connect(signal ?? new AbortController().signal);
  }

  function abandon(id: string, dial: Dialing, reason: unknown): void {
    if (dialing.get(id) === dial) dialing.delete(id);
    dial.abort.abort(reason);
    // It may be ready at this very moment.
    dial.promise.then(
      (connection) => void connection.close(),
      () => {},
    );
  }

  function share(id: string, connection: OwnedConnection): Shared {
    const known = shared.get(id);
    if (known?.connection === connection) return known;
    const entry: Shared = {
      connection,
      streams: 0,
      idleSince: clock.now(),
      armed: false,
      replaced: false,
      doubt: undefined,
    };
    shared.set(id, entry);
    void connection.closed.then(() => drop(id, entry));
    return entry;
  }

  function drop(id: string, entry: Shared): void {
    if (shared.get(id) === entry) shared.delete(id);
  }

  /** See whether a connection that has been silent answers. */
  function watch(entry: Shared, key: PoolKey): void {
    if (entry.doubt !== undefined) return;
    const probe = entry.connection.probe?.();
    if (probe === undefined) return;
    const { promise: answered, resolve } = Promise.withResolvers<void>();
    const lost = new AbortController();
    const streams = new Set<Duplex>();
    const doubt: Doubt = { streams, answered, lost, overdue: false, contest: undefined };
    entry.doubt = doubt;
    void probe.answered.then((isAlive) => {
      if (!isAlive) return;
      entry.doubt = undefined;
      resolve();
    });
    const late = (): void => {
      if (entry.doubt !== doubt || shared.get(key.id) !== entry || closed) return;
      doubt.overdue = true;
      // Who opens meanwhile hears of a failure; if nobody does, the next one dials again.
      contest(entry, doubt, key).catch(() => {});
    };
    clock.timeout(probe.patience).addEventListener("abort", late, { once: true });
  }

  /** Until the connection in doubt has answered, or another has taken its place. @throws what `connect` does. */
  function contest(entry: Shared, doubt: Doubt, key: PoolKey): Promise<void> {
    doubt.contest ??= raceWithFresh(entry, doubt, key).finally(() => (doubt.contest = undefined));
    return doubt.contest;
  }

  async function raceWithFresh(entry: Shared, doubt: Doubt, key: PoolKey): Promise<void> {
    const stop = new AbortController();
    const dial = key.connect(stop.signal);
    const fresh = await Promise.race([dial, doubt.answered]);
    if (fresh === undefined) {
      stop.abort(ANSWERED);
      dial.then(
        (late) => void late.close(),
        () => {},
      );
      return;
    }
    replace(key.id, entry, doubt);
    // One stream is not for sharing: where UDP has died, each dials TCP for itself, and at once.
    if (fresh.multiplexed && !closed) arm(share(key.id, fresh));
    else void fresh.close();
  }

  /** The connection is as good as dead. */
  function replace(id: string, entry: Shared, { streams, lost }: Doubt): void {
    drop(id, entry);
    entry.replaced = true;
    const error = new ConnectionClosed(transportReason("TIMEOUT", "it did not answer any more"));
    lost.abort(error);
    for (const stream of streams) stream.destroy(error);
    if (entry.streams === 0) void entry.connection.close();
  }

  async function streamOf(entry: Shared, signal: AbortSignal | undefined): Promise<PooledStream> {
    const { connection } = entry;
    entry.streams++;
    const release = (): void => {
      entry.streams--;
      entry.idleSince = clock.now();
      if (entry.streams > 0) return;
      if (closed || entry.replaced) void connection.close();
      else if (!entry.armed) arm(entry);
    };
    const { doubt } = entry;
    try {
      if (doubt === undefined) {
        const stream = await connection.open({ signal });
        stream.once("close", release);
        return { stream, connection };
      }
      const { lost, streams } = doubt;
      const either = signal === undefined ? lost.signal : AbortSignal.any([signal, lost.signal]);
      const stream = await connection.open({ signal: either });
      streams.add(stream);
      stream.once("close", () => {
        streams.delete(stream);
        release();
      });
      return { stream, connection };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** One timer for a connection, however many streams come and go. */
  function arm(entry: Shared): void {
    entry.armed = true;
    const left = Math.max(1, Math.ceil(entry.idleSince + idle - clock.now()));
    const check = (): void => {
      entry.armed = false;
      if (entry.streams > 0 || entry.connection.draining.aborted) return;
      if (clock.now() - entry.idleSince < idle) return arm(entry);
      for (const [id, other] of shared) if (other === entry) shared.delete(id);
      void entry.connection.close();
    };
    clock.timeout(left).addEventListener("abort", check, { once: true });
  }

  return {
    open,
    close() {
      closed = true;
      for (const { streams, connection } of shared.values()) {
        if (streams === 0) void connection.close();
      }
    },
  };
}

/** Why a dial is given up that was not needed. */
const ANSWERED = new DOMException("the connection in doubt has answered", "AbortError");

/** The one stream of a connection, which ends with it. */
async function single(
  connection: OwnedConnection,
  signal: AbortSignal | undefined,
): Promise<PooledStream> {
  try {
    return { stream: await connection.open({ signal }), connection };
  } catch (error) {
    void connection.close();
    throw error;
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  return await new Promise<T>((resolve, reject) => {
    const onabort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onabort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onabort));
  });
}
