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
 * Refuse `input` if it is the marker, so that what was printed is not read back as if it were the secret.
 *
 * @throws {VaultError} `REDACTED_INPUT`.
 */
export function refuseRedacted(input: string | Uint8Array, what: string): void {
  const text = typeof input === "string" ? input : asText(input);
  if (text.trim() !== REDACTED) return;
  throw new VaultError(
    "REDACTED_INPUT",
    `cannot read ${what}: "${REDACTED}" stands where a secret was, it is not the secret`,
  );
}

/** Bytes as text, but only where they could be the marker: no secret becomes a string here. */
function asText(bytes: Uint8Array): string {
  const begin = bytes.indexOf(REDACTED.charCodeAt(0));
  const marker = bytes.subarray(begin, begin + REDACTED.length);
  return begin >= 0 && Buffer.from(REDACTED).equals(marker) ? REDACTED : "";
}
