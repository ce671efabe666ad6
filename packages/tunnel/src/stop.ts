/**
 * A signal with several causes, while something lasts.
 *
 * `AbortSignal.any` follows its sources by weak references and registers each for the collector: 6 to 11 µs, several
 * times in the opening of a flow. This one is taken back when it is over, and costs one.
 *
 * @module
 */

/** Aborts once, for the first of its causes. Disposing it lets go of what it follows. */
export interface Stop extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
}

/** A signal that aborts with the first of `sources`, with its reason, or by hand. */
export function stopWith(...sources: readonly AbortSignal[]): Stop {
  const controller = new AbortController();
  const follow = ({ target }: Event): void => controller.abort((target as AbortSignal).reason);
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason);
    else source.addEventListener("abort", follow, { once: true });
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]() {
      for (const source of sources) source.removeEventListener("abort", follow);
    },
  };
}

/** Why something is given up that took too long. One for all: an error takes its time to make. */
export const TOO_LATE: DOMException = new DOMException("it took too long", "TimeoutError");
