/**
 * Errors of the packages below as declared errors of operations: by their code, with their text.
 *
 * @module
 */

import { CallError } from "@alknet/call/call-error";
import type { ErrorDeclarations } from "@alknet/call/operation";

/** Run `work`; what it throws with a code that is declared reaches the caller, and anything else is `INTERNAL`. */
export async function declared<T>(
  errors: ErrorDeclarations,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (!(error instanceof Error && typeof code === "string" && Object.hasOwn(errors, code))) {
      throw error;
    }
    throw new CallError(code, error.message, { cause: error });
  }
}
