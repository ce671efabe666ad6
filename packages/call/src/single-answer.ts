/**
 * The one answer of a call, as a promise.
 *
 * @module
 */

import { remoteError } from "./call-error.ts";
import type { Receiver } from "./outgoing-calls.ts";

export class SingleAnswer implements Receiver {
  readonly #resolve: (output: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(resolve: (output: unknown) => void, reject: (error: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  output(output: unknown): boolean {
    this.#resolve(output);
    return true;
  }

  end(): void {
    this.#reject(remoteError("INTERNAL", "the call ended without an output"));
  }

  fail(error: unknown): void {
    this.#reject(error);
  }

  cancel(reason: unknown): void {
    this.#reject(reason);
  }
}
