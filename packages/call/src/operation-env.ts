/**
 * What a handler can call: the operations within its reach, with its own authority.
 *
 * @module
 */

import { admit } from "./access-control.ts";
import { CallError, remoteError } from "./call-error.ts";
import type { CallContext } from "./operation-context.ts";
import type { AnyOperation, InvokeOptions, OperationEnv } from "./operation.ts";
import type { Registration } from "./registry.ts";

/** The environment of a call that is running. */
export function contextEnv(context: CallContext): OperationEnv {
  const { spine, registration } = context;
  const { authority } = registration;
  const { peers } = spine;

  function find(name: string): Registration | undefined {
    return authority.reaches(name) ? spine.find(name, context.call) : undefined;
  }

  function findAt(peer: string, name: string): Registration | undefined {
    return authority.reachesAt(peer, name) ? peers?.at(peer)?.find(name) : undefined;
  }

  return {
    invoke(operation: AnyOperation | string, input: unknown, options?: InvokeOptions) {
      const name = nameOf(operation);
      return attempt(() => invoke(context, name, find(name), input, options));
    },
    invokePeer(
      peer: string,
      operation: AnyOperation | string,
      input: unknown,
      options?: InvokeOptions,
    ) {
      const name = nameOf(operation);
      return attempt(() => invoke(context, name, findAt(peer, name), input, options));
    },
    contains: (name) => find(nameOf(name)) !== undefined,
    peerContains: (peer, name) => findAt(peer, nameOf(name)) !== undefined,
    peerIds: () => peers?.ids() ?? [],
    peerOperations: (peer) =>
      [...(peers?.at(peer)?.registrations() ?? [])]
        .map(({ operation }) => operation.name)
        .filter((name) => authority.reachesAt(peer, name)),
  };
}

function nameOf(operation: AnyOperation | string): string {
  if (typeof operation !== "string") return operation.name;
  return operation.startsWith("/") ? operation.slice(1) : operation;
}

function invoke(
  parent: CallContext,
  name: string,
  registration: Registration | undefined,
  input: unknown,
  { policy, signal }: InvokeOptions = {},
): Promise<unknown> {
  if (parent.closed !== undefined) throw parent.closed;
  signal?.throwIfAborted();
  if (registration === undefined) {
    throw new CallError("NOT_FOUND", `operation not found: ${name}`);
  }
  const { access, operation } = registration;
  // To be within reach is the right to what asks for nothing more.
  const admission = access.byDefault
    ? undefined
    : admit(access, parent.registration.authority, input, parent.spine.ownership);
  if (operation.type === "subscription") {
    admission?.[Symbol.dispose]();
    throw new CallError(
      "INVALID_OPERATION_TYPE",
      `${name} is a subscription: it cannot be invoked`,
    );
  }
  return settled(parent.child(registration, admission, policy), input, signal);
}

/** Its output, or the reason for which it is cancelled: whichever is first. */
function settled(
  child: CallContext,
  input: unknown,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  child.oncancel = reject;
  attempt(() => child.spine.execute(child, input)).then(resolve, reject);
  if (signal === undefined) return promise;
  const onabort = (): void => child.cancel(reasonOf(signal));
  signal.addEventListener("abort", onabort, { once: true });
  return promise.finally(() => signal.removeEventListener("abort", onabort));
}

/**
 * What `run` comes to, as a promise that may be left alone: a caller that cancels would otherwise end the process of
 * every handler that has begun two calls and awaits one.
 */
function attempt(run: () => unknown): Promise<unknown> {
  const promise = (async () => await run())();
  promise.catch(() => {});
  return promise;
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : remoteError("INTERNAL", "request cancelled");
}
