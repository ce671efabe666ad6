/**
 * What a caller gets to see when a handler fails: what the operation declares, and nothing else.
 *
 * @module
 */

import { CallError, remoteError } from "./call-error.ts";
import type { CallContext } from "./operation-context.ts";
import { OutputMismatch, validate } from "./schema-check.ts";

/**
 * The error that goes to the caller. A declared one passes, its details as their schema has them; everything
 * else is `INTERNAL`: its text stays in our log, its code goes along if it is one of a call.
 */
export function failure(
  context: CallContext,
  error: unknown,
  checkDetails: boolean,
): CallError | Promise<CallError> {
  if (error instanceof CallError) {
    const { transparent, operation } = context.registration;
    if (transparent || error === context.refusal) return error;
    if (Object.hasOwn(operation.errors, error.code)) {
      return checkDetails ? checkedError(context, error) : error;
    }
  }
  return internal(context, error);
}

function checkedError(context: CallContext, error: CallError): CallError | Promise<CallError> {
  const schema = context.registration.operation.errors[error.code]?.details;
  if (schema === undefined) return error;
  const checked = validate(schema, error.details);
  const finish = (result: Awaited<typeof checked>): CallError => {
    if (result.issues !== undefined) {
      const cause = new OutputMismatch(result.issues, { cause: error });
      return internal(context, cause);
    }
    const { retryable, cause } = error;
    return remoteError(error.code, error.message, { retryable, cause, details: result.value });
  };
  if (!(checked instanceof Promise)) return finish(checked);
  return checked.then(finish, (cause: unknown) => internal(context, cause));
}

function internal(context: CallContext, error: unknown): CallError {
  // Handlers fail in all ways when they are told to stop, and nobody hears of it.
  if (!context.cancelled) context.logger.error({ err: error }, "a handler failed");
  const details = error instanceof CallError ? { details: { code: error.code } } : {};
  return remoteError("INTERNAL", "the operation failed", { cause: error, ...details });
}
