/**
 * Keep something exposed: when the far side is lost, it is asked again until it listens.
 *
 * @module
 */

import { systemClock } from "@alknet/core/clock";
import type { DialWithConnection } from "./open-flow.ts";
import { expose, type Exposed, type ExposeOptions } from "./expose.ts";
import type { ListeningPlace } from "./wire/opened.ts";

export interface KeepExposedOptions extends ExposeOptions {
  /** Nobody listens there for us, and why; it is asked again in `delay` milliseconds. */
  onlost: (error: Error, delay: number) => void;
  /** It listens again; where it was asked for any port, perhaps at another. */
  onback: (place: ListeningPlace) => void;
}

/** Something that is exposed until it is ended. */
export interface KeptExposed {
  /** Where the far side listens, or did last. */
  readonly place: ListeningPlace;
  /** Connections that stand now. */
  readonly connections: number;
  /** Take no new ones, and wait for those that stand. Idempotent. */
  close(): Promise<void>;
  /** End now: those that stand are reset. */
  abort(reason?: Error): void;
}

/** Before the first try again, and at most; each is twice as long as the one before. Milliseconds. */
const FIRST_DELAY = 1_000;
const MAX_DELAY = 30_000;

/**
 * Expose, and again whenever the far side is lost: it was restarted, the network changed, the right was taken
 * back for a while.
 *
 * @throws what `expose` throws at the first time; later that is told, and no end.
 */
export async function keepExposed(
  dial: DialWithConnection,
  options: KeepExposedOptions,
): Promise<KeptExposed> {
  const { clock = systemClock, onlost, onback } = options;
  const over = new AbortController();
  let current = await expose(dial, options);
  /** With those that are lost, while connections of them stand. */
  const all = new Set<Exposed>([current]);

  async function keep(): Promise<void> {
    for (;;) {
      const error = await current.closed;
      if (error === undefined || over.signal.aborted) return;
      const lost = current;
      void lost.close().then(() => all.delete(lost));
      const next = await exposeAgain(error);
      if (next === undefined) return;
      all.add(next);
      current = next;
      if (over.signal.aborted) next.abort();
      else onback(next.place);
    }
  }

  async function exposeAgain(lost: Error): Promise<Exposed | undefined> {
    let error = lost;
    for (let delay = FIRST_DELAY; ; delay = Math.min(2 * delay, MAX_DELAY)) {
      onlost(error, delay);
      const signal = AbortSignal.any([over.signal, clock.timeout(delay)]);
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      if (over.signal.aborted) return undefined;
      try {
        return await expose(dial, { ...options, signal: over.signal });
      } catch (failure) {
        error = failure as Error;
      }
    }
  }

  const kept = keep();

  async function close(): Promise<void> {
    over.abort(new Error("not exposed any more"));
    await Promise.all([kept, ...[...all].map((exposed) => exposed.close())]);
  }

  let closing: Promise<void> | undefined;
  return {
    get place() {
      return current.place;
    },
    get connections() {
      let count = 0;
      for (const { connections } of all) count += connections;
      return count;
    },
    close: () => (closing ??= close()),
    abort(reason) {
      over.abort(new Error("not exposed any more"));
      for (const exposed of all) exposed.abort(reason);
    },
  };
}
