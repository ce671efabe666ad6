/**
 * Registries: operations by name, checked once and then fixed.
 *
 * A node's own operations can compose, and so could lend out rights: they are frozen when the node starts. What
 * comes and goes while it runs is in layers of its own (`call-peers.ts`, `session-layer.ts`).
 *
 * @module
 */

import { type CompiledAccess, compileAccess } from "./access-control.ts";
import { type Authority, compileAuthority } from "./authority.ts";
import { remoteError } from "./call-error.ts";
import type { AnyOperation, ErrorDeclarations, OperationContext } from "./operation.ts";

/** Where an operation comes from. Only what is local, or of a session, composes. */
export type Provenance =
  | "local"
  | "services"
  | "session"
  | "from-call"
  | "from-openapi"
  | "from-mcp"
  | "from-json-schema";

/** An operation that can be dispatched. */
export interface Registration {
  readonly operation: AnyOperation;
  readonly provenance: Provenance;
  /** Not for the wire. */
  readonly internal: boolean;
  /** Its errors go to the caller as they are: they are another node's answer, or the protocol's own. */
  readonly transparent: boolean;
  readonly access: CompiledAccess;
  /** Its own, for what it calls. Of what does not compose, it reaches nothing. */
  readonly authority: Authority;
  /** Makes its declared errors. */
  readonly error: OperationContext["error"];
}

/** Operations by name. */
export interface OperationLayer {
  find(name: string): Registration | undefined;
  /** In the order in which they were registered. */
  registrations(): Iterable<Registration>;
}

/** The operations of a node. `Operations` keeps their types, for `client<typeof registry>()`. */
export interface Registry<
  Operations extends readonly AnyOperation[] = readonly AnyOperation[],
> extends OperationLayer {
  readonly operations: Operations;
}

/** A name is taken. */
export class DuplicateOperation extends Error {
  override readonly name = "DuplicateOperation";
  readonly code = "DUPLICATE_OPERATION";
  /** Of the operation. */
  readonly operation: string;

  constructor(operation: string, options?: ErrorOptions) {
    super(
      `cannot register operation ${JSON.stringify(operation)}: there is one of that name`,
      options,
    );
    this.operation = operation;
  }
}

/**
 * A registry of these operations. What a node answers of itself (`services/…`) is added when it is served.
 *
 * @throws {DuplicateOperation} if two have one name.
 * @throws {TypeError | SyntaxError} if the handler is not of the operation's type, or its access, composition or errors are
 *   not as they have to be.
 */
export function createRegistry<const Operations extends readonly AnyOperation[]>(
  operations: Operations,
): Registry<Operations> {
  const layer = layerOf(operations, "local");
  return Object.freeze({ ...layer, operations: Object.freeze([...operations]) as Operations });
}

/** The operations as a layer that does not change. @throws as {@linkcode createRegistry}. */
export function layerOf(
  operations: readonly AnyOperation[],
  provenance: Provenance,
): OperationLayer {
  const byName = new Map<string, Registration>();
  for (const operation of operations) {
    if (byName.has(operation.name)) throw new DuplicateOperation(operation.name);
    byName.set(operation.name, register(operation, provenance));
  }
  return { find: (name) => byName.get(name), registrations: () => byName.values() };
}

/** Codes of the machinery: an operation that declared one could not be told from it. */
const TAKEN: ReadonlySet<string> = new Set([
  "NOT_FOUND",
  "FORBIDDEN",
  "INVALID_INPUT",
  "INVALID_OPERATION_TYPE",
  "INTERNAL",
  "TIMEOUT",
  "LIMIT",
  "OVERFLOW",
]);

/** Check an operation, and compile what is asked on every call. @throws as {@linkcode createRegistry}. */
export function register(operation: AnyOperation, provenance: Provenance): Registration {
  const { name, access, composes, errors, visibility = "external" } = operation;
  const composing = provenance === "local" || provenance === "session";
  if (composes !== undefined && !composing) {
    throw invalid(name, `what is imported (${provenance}) composes nothing`);
  }
  checkHandler(operation);
  for (const code of Object.keys(errors)) {
    if (TAKEN.has(code)) throw invalid(name, `the error code ${code} is the protocol's own`);
    if (!/^[A-Z][A-Z0-9_]{0,63}$/.test(code)) {
      throw invalid(name, `expected error codes like FILE_NOT_FOUND, got ${JSON.stringify(code)}`);
    }
  }
  return Object.freeze({
    operation,
    provenance,
    internal: visibility === "internal" || provenance === "session",
    transparent: provenance === "from-call" || provenance === "services",
    access: compileAccess(name, access),
    authority: compileAuthority(name, composes),
    error: errorMaker(errors),
  });
}

/** `context.error` of an operation with these errors. */
function errorMaker(errors: ErrorDeclarations): OperationContext["error"] {
  return (code: string, details?: unknown, message?: string) => {
    const text = message ?? (Object.hasOwn(errors, code) ? errors[code]!.description : code);
    return remoteError(code, text, details === undefined ? undefined : { details });
  };
}

/** As far as a function's own kind tells; what it returns is looked at when it does. */
function checkHandler({ name, type, handler }: AnyOperation): void {
  if (typeof handler !== "function") throw invalid(name, "expected a function as handler");
  const kind = Object.prototype.toString.call(handler);
  const generates = kind === "[object AsyncGeneratorFunction]";
  if (kind === "[object GeneratorFunction]") {
    throw invalid(name, "expected an async function or an async generator as handler");
  }
  if (type === "subscription" && kind === "[object AsyncFunction]") {
    throw invalid(name, "a subscription's handler is an async generator, got an async function");
  }
  if (type !== "subscription" && generates) {
    throw invalid(name, `the handler of a ${type} returns one output, got an async generator`);
  }
}

function invalid(name: string, text: string): TypeError {
  return new TypeError(`cannot register operation ${JSON.stringify(name)}: ${text}`);
}
