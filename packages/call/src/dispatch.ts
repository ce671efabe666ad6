/**
 * The way of every call through a node: who is calling, is there such an operation, may they, is the input what
 * it has to be, then its handler; and back, its output or error, as declared.
 *
 * Gateways go this way too, so that rights cannot come to differ between them.
 *
 * @module
 */

import type { AuthContext } from "@alknet/core/access";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { Connection } from "@alknet/core/connection";
import { type Logger, silentLogger } from "@alknet/core/log";
import { admit, forbidden } from "./access-control.ts";
import { type CallError, remoteError } from "./call-error.ts";
import { failure } from "./call-failure.ts";
import { checkedItems } from "./checked-items.ts";
import { CallContext, type Spine } from "./operation-context.ts";
import { contextEnv } from "./operation-env.ts";
import type { AnyOperation } from "./operation.ts";
import { OutputStream, stream } from "./output-stream.ts";
import type { OwnershipProvider } from "./ownership.ts";
import type { PeerLayers } from "./peer-layers.ts";
import type { OperationLayer, Registration } from "./registry.ts";
import { type Checked, checkedOutput, invalidInput, validate } from "./schema-check.ts";
import { serviceOperations } from "./services.ts";
import type { Dispatch, IncomingCall } from "./session.ts";

export interface DispatchOptions {
  readonly registry: OperationLayer;
  /** Operations of peers; see `call-peers.ts`. @default none */
  readonly peers?: PeerLayers | undefined;
  /** Operations that only this call can compose; see `session-layer.ts`. @default none */
  readonly sessionLayer?: ((call: IncomingCall) => OperationLayer | undefined) | undefined;
  /** Asked about resources, in the place of the lists that peers have. */
  readonly ownership?: OwnershipProvider | undefined;
  /**
   * Whether outputs and details of errors go through their schemas; if not, they are sent as the handler returns
   * them, and what a schema makes of them, or leaves out, is not done. @default true
   */
  readonly checkOutput?: boolean | undefined;
  /** The session's, as `context.deadline` is on it. @default the machine's */
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** What answers the calls of a session. */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { registry, peers, sessionLayer, ownership, checkOutput = true } = options;
  const { clock = systemClock, logger = silentLogger } = options;
  const services = serviceOperations({ registry, peers, ownership });

  const spine: Spine = {
    ownership,
    peers,
    clock,
    logger,
    find: (name, call) =>
      sessionLayer?.(call)?.find(name) ??
      peers?.find(name, call.session.connection.auth.peer?.id) ??
      registry.find(name) ??
      services.find(name),
    execute: (context, input) => execute(context, input, checkOutput),
    env: contextEnv,
  };

  return (call) => {
    const { connection } = call.session;
    const subject =
      call.authToken === undefined ? connection.auth : tokenContext(connection, call.authToken);
    const registration = fromWire(call.operation);
    if (registration === undefined) throw notFound(call.operation);
    const admission = admit(registration.access, subject, call.input, ownership);
    const context = new CallContext(spine, registration, call, subject, admission);
    const { name, type } = registration.operation;
    if (type === "subscription") call.subscribed();
    else if (call.window !== undefined) {
      context.end();
      throw remoteError(
        "INVALID_OPERATION_TYPE",
        `${name} is a ${type}: it cannot be subscribed to`,
      );
    }
    const answer = execute(context, call.input, checkOutput);
    // Nothing can be taken back from what is over by now.
    if (answer instanceof Promise || answer instanceof OutputStream) context.followRights();
    return answer;
  };

  /** The node's own come first: no peer takes their place. */
  function fromWire(name: string): Registration | undefined {
    const found = registry.find(name) ?? services.find(name) ?? peers?.findExposed(name);
    return found?.internal === true ? undefined : found;
  }
}

/** Longest token that is looked up, in characters. */
const MAX_TOKEN = 4_096;

/** Whoever shows a token is nobody else: if it is not known, that is an error, and a guess that failed. */
function tokenContext(connection: Connection, token: string): AuthContext {
  // Alone it is no way in here: it refines a peer that its key has let in.
  const mayResolve = connection.auth.peer !== undefined && token.length <= MAX_TOKEN;
  const auth = mayResolve ? resolveToken(connection, token) : undefined;
  if (auth !== undefined) return auth;
  connection.penalize("auth");
  throw forbidden("the token is not known");
}

function resolveToken(connection: Connection, token: string): AuthContext | undefined {
  try {
    return connection.authenticate({ kind: "token", token: Buffer.from(token) });
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== "LIMIT") throw cause;
    // For as long as the connection lasts: to try again is of no use.
    const text = "too many tokens were used on this connection: open another";
    throw remoteError("LIMIT", text, { retryable: false, cause });
  }
}

function notFound(name: string): CallError {
  return remoteError("NOT_FOUND", `operation not found: ${name.slice(0, 256)}`);
}

/** See {@linkcode Spine.execute}. Synchronous as far as schemas and handler are. */
function execute(context: CallContext, input: unknown, checkOutput: boolean): unknown {
  try {
    const checked = validate(context.registration.operation.input, input);
    if (!(checked instanceof Promise)) {
      return executeChecked(context, input, checked, checkOutput);
    }
    return checked.then(
      (it) => executeChecked(context, input, it, checkOutput),
      (error: unknown) => ended(context, error, checkOutput),
    );
  } catch (error) {
    return ended(context, error, checkOutput);
  }
}

function executeChecked(
  context: CallContext,
  input: unknown,
  checked: Checked,
  checkOutput: boolean,
): unknown {
  let result: unknown;
  try {
    result = run(context, input, checked);
    // A query of some database can be awaited, and is no promise.
    if (!(result instanceof Promise) && isThenable(result)) result = Promise.resolve(result);
  } catch (error) {
    return ended(context, error, checkOutput);
  }
  if (!(result instanceof Promise)) return finish(context, result, checkOutput);
  return result.then(
    (it) => finish(context, it, checkOutput),
    (error: unknown) => ended(context, error, checkOutput),
  );
}

function run(context: CallContext, input: unknown, checked: Checked): unknown {
  const { operation } = context.registration;
  if (checked.issues !== undefined) throw context.refuse(invalidInput(checked.issues));
  // Between validation that took its time and here it may have been cancelled.
  if (context.closed !== undefined) throw context.closed;
  context.admitChecked(input, checked.value);
  context.started = true;
  const handler = operation.handler as (input: unknown, context: CallContext) => unknown;
  return handler(checked.value, context);
}

/** What the handler came to is checked, and what the call stood on given back. */
function finish(context: CallContext, result: unknown, checkOutput: boolean): unknown {
  const { operation } = context.registration;
  try {
    if (isAsyncIterable(result) !== (operation.type === "subscription")) {
      throw context.refuse(wrongKind(operation));
    }
    if (isAsyncIterable(result)) return stream(checkedItems(context, result, checkOutput));
    const output = checkOutput ? checkedOutput(operation.output, result) : result;
    if (output instanceof Promise) return finishLater(context, output, checkOutput);
    context.end();
    return output;
  } catch (error) {
    return ended(context, error, checkOutput);
  }
}

async function finishLater(
  context: CallContext,
  checked: Promise<unknown>,
  checkOutput: boolean,
): Promise<unknown> {
  try {
    const output = await checked;
    context.end();
    return output;
  } catch (error) {
    return await ended(context, error, checkOutput);
  }
}

/** Throws, or rejects, with what the caller gets to see. */
function ended(context: CallContext, error: unknown, checkOutput: boolean): Promise<never> {
  context.end();
  const seen = failure(context, error, checkOutput);
  if (!(seen instanceof Promise)) throw seen;
  return seen.then((it) => {
    throw it;
  });
}

function wrongKind({ name, type }: AnyOperation): CallError {
  const text =
    type === "subscription" ? `${name} gave no items` : `${name} gave items, and is a ${type}`;
  return remoteError("INVALID_OPERATION_TYPE", text);
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as { then?: unknown }).then === "function"
  );
}
