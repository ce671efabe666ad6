/**
 * Things that hold secrets print, serialise and inspect as `[REDACTED]`, and nobody takes that text for a secret.
 *
 * @module
 */

import { inspect } from "node:util";
import { VaultError } from "./vault-error.ts";

/** What is shown in place of a secret. */
export const REDACTED = "[REDACTED]";

/**
 * Let `JSON.stringify`, `util.inspect`, `console.log` and `String()` see only what `shown` returns.
 *
 * @param object an instance, or a class's prototype for all its instances.
 * @param shown the public part; where a secret would stand, put {@linkcode REDACTED}.
 */
export function redact<T extends object>(object: T, shown: (self: T) => object): void {
  const hidden = { enumerable: false, configurable: false, writable: false };
  Object.defineProperties(object, {
    toJSON: {
      ...hidden,
      value(this: T) {
        return shown(this);
      },
    },
    toString: {
      ...hidden,
      value(this: T) {
        return JSON.stringify(shown(this));
      },
    },
    [inspect.custom]: {
      ...hidden,
      value(this: T) {
        return shown(this);
      },
    },
  });
}

/**
 * Refuse `input` if the marker is in it, so that what was printed is not read back as if it were the secret.
 *
 * @throws {VaultError} `REDACTED_INPUT`.
 */
export function refuseRedacted(input: string | Uint8Array, what: string): void {
  // A view: no secret becomes a string here.
  const text =
    typeof input === "string" ? input : Buffer.from(input.buffer, input.byteOffset, input.length);
  if (!text.includes(REDACTED)) return;
  throw new VaultError(
    "REDACTED_INPUT",
    `cannot read ${what}: "${REDACTED}" stands where a secret was, it is not the secret`,
  );
}
