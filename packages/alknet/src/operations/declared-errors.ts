/**
 * Errors of the packages below as declared errors of operations: by their code, with their text.
 *
 * @module
 */

import { CallError } from "@alknet/call/call-error";
import type { ErrorDeclarations } from "@alknet/call/operation";

/** What can go wrong with the store, whatever is asked of it. */
export const STORE_ERRORS = {
  STORE_BUSY: { description: "somebody else has the store locked" },
  STORE_FULL: { description: "the disk is full" },
  STORE_READ_ONLY: { description: "the store can be read, and not written" },
  STORE_CORRUPT: { description: "the store is damaged" },
  STORE_UNAVAILABLE: { description: "the store cannot be reached, or is gone" },
} as const;

/** Run `work`; what it throws with a code that is declared reaches the caller, and anything else is `INTERNAL`. */
export async function declared<T>(
  errors: ErrorDeclarations,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw declaredError(errors, error);
  }
}

/** The error as it is to be thrown. */
export function declaredError(errors: ErrorDeclarations, error: unknown): unknown {
  const { code } = error as { code?: unknown };
  return error instanceof Error && typeof code === "string" && Object.hasOwn(errors, code)
    ? new CallError(code, error.message, { cause: error })
    : error;
}
