/**
 * Signals that ask a program to end: the first to finish, the second to end now.
 *
 * Pure: time is handed in.
 *
 * @module
 */

/**
 * For so long after the first one the same signal is the same request, in milliseconds: what a process group has got,
 * `npm start` and what it runs pass on to us once more, each of them.
 */
const SAME_REQUEST = 200;

/** What a signal asks for; `"same"`: what the first one did. */
export type EndRequest = "finish" | "same" | "now";

/** Take the signals of a process, each as it comes. @param now in milliseconds */
export function endSignals(now: () => number): (signal: string) => EndRequest {
  let first: { readonly signal: string; readonly at: number } | undefined;
  return (signal) => {
    if (first === undefined) {
      first = { signal, at: now() };
      return "finish";
    }
    return signal === first.signal && now() - first.at < SAME_REQUEST ? "same" : "now";
  };
}
