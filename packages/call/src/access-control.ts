/**
 * Who may call an operation: its rule, compiled once, and held to while a call of it lasts.
 *
 * In this order: no rule, no identity, all scopes, any scope, resources. A right is a grant, so what is taken
 * back ends the call. Resources are names: `resources.container = ["web"]` is the right to one container, `"*"`
 * to all; with a provider of ownership, that is asked instead.
 *
 * @module
 */

import { AccessDenied, AccessRevoked, type Grant, type Identity } from "@alknet/core/access";
import { parseRequest, parseScope, type Request } from "@alknet/core/scope";
import { type CallError, remoteError } from "./call-error.ts";
import type { Access, AccessRule, Rights } from "./operation.ts";
import type { OwnershipProvider } from "./ownership.ts";

/** The right to call what asks for nothing more; its resource is the operation's name. */
const INVOKE = "call:invoke";

/** Whose rights are checked: a connection's identity, a token's, or a handler's own authority. */
export interface Subject extends Rights {
  readonly peer: Identity | undefined;
}

export interface CompiledAccess {
  /** The operation names no rule of its own: {@linkcode INVOKE} on the wire, nothing within a composition. */
  readonly byDefault: boolean;
  /** Nothing is asked for. */
  readonly open: boolean;
  readonly scopes: readonly NeededScope[];
  readonly anyScope: readonly NeededScope[];
  readonly resource: NeededResource | undefined;
}

interface NeededScope {
  readonly text: string;
  readonly request: Request;
}

interface NeededResource {
  readonly type: string;
  readonly action: string | undefined;
  /** Keys that lead to the id in the input. */
  readonly path: readonly string[] | undefined;
}

/**
 * Compile the rule of the operation `name`.
 *
 * @throws {TypeError} if it asks for what nobody can be granted, or names no resource where it has to.
 */
export function compileAccess(name: string, access: Access | undefined): CompiledAccess {
  const rule: AccessRule =
    access === undefined ? { scopes: [`${INVOKE}:${name}`] } : access === "anyone" ? {} : access;
  const { scopes = [], anyScope = [], resourceType, resourceAction, resourceId } = rule;
  if (resourceType === undefined && (resourceAction ?? resourceId) !== undefined) {
    throw invalidRule(name, "resourceAction and resourceId need a resourceType");
  }
  const path = resourceId === undefined ? undefined : parsePath(name, resourceId);
  const resource =
    resourceType === undefined ? undefined : { type: resourceType, action: resourceAction, path };
  if (access !== undefined && access !== "anyone" && scopes.length + anyScope.length === 0) {
    // An empty rule could be read as either; open is said in so many words.
    if (resource === undefined) throw invalidRule(name, 'a rule that asks for nothing is "anyone"');
  }
  return {
    byDefault: access === undefined,
    open: access === "anyone",
    scopes: scopes.map((text) => needed(name, text)),
    anyScope: anyScope.map((text) => needed(name, text)),
    resource,
  };
}

function needed(name: string, text: string): NeededScope {
  const { service, action } = parseScope(text);
  if (service === undefined || action === undefined) {
    throw invalidRule(name, `expected scopes "service:action[:resource]", got ${quote(text)}`);
  }
  const prefix = `${service}:${action}`;
  const resource = text.length > prefix.length ? text.slice(prefix.length + 1) : undefined;
  try {
    return { text, request: parseRequest(prefix, resource) };
  } catch (error) {
    throw invalidRule(name, (error as Error).message, { cause: error });
  }
}

/** `$.a.b` or `$/a/b`. */
function parsePath(name: string, path: string): readonly string[] {
  const match = /^\$(?:(?:\.[^./]+)+|(?:\/[^./]+)+)$/.exec(path);
  if (match === null) {
    throw invalidRule(name, `expected resourceId "$.a.b" or "$/a/b", got ${quote(path)}`);
  }
  return path.slice(2).split(path[1]!);
}

/** Rights that a call stands on. Dispose of them when it is over. */
export class Admission implements Disposable {
  readonly #grants: Grant[] = [];
  readonly #subject: Subject;
  readonly #access: CompiledAccess;
  /** Which of {@linkcode #grants} is one of several that would do. */
  #either: Grant | undefined;
  #lost: ((error: CallError) => void) | undefined;

  constructor(subject: Subject, access: CompiledAccess) {
    this.#subject = subject;
    this.#access = access;
  }

  add(grant: Grant): void {
    this.#grants.push(grant);
  }

  addEither(grant: Grant): void {
    this.#either = grant;
    this.#grants.push(grant);
  }

  /** Have `lost` called once, with `FORBIDDEN`, when one of the rights is gone. */
  follow(lost: (error: CallError) => void): void {
    this.#lost = lost;
    for (const grant of this.#grants) this.#follow(grant);
  }

  #follow(grant: Grant): void {
    grant.followRevocation((reason) => {
      if (grant === this.#either && this.#replaceEither(grant)) return;
      const { message } = reason;
      this.#lost?.(remoteError("FORBIDDEN", message, { cause: reason }));
      this.#lost = undefined;
    });
  }

  /** Another of the scopes may still be there. */
  #replaceEither(gone: Grant): boolean {
    const next = grantAny(this.#subject, this.#access.anyScope);
    if (next === undefined) return false;
    this.#grants[this.#grants.indexOf(gone)] = next;
    this.#either = next;
    this.#follow(next);
    return true;
  }

  [Symbol.dispose](): void {
    this.#lost = undefined;
    for (const grant of this.#grants) grant[Symbol.dispose]();
  }
}

/**
 * Check a call against the rule, and take the rights that it stands on.
 *
 * @param input as it came: it is not validated before, for a caller who may not learns nothing about it.
 * @returns `undefined` if it stands on none.
 * @throws {CallError} `FORBIDDEN`
 */
export function admit(
  access: CompiledAccess,
  subject: Subject,
  input: unknown,
  ownership: OwnershipProvider | undefined,
): Admission | undefined {
  if (access.open) return undefined;
  if (subject.peer === undefined) throw forbidden("authentication required");
  const admission = new Admission(subject, access);
  try {
    for (const scope of access.scopes) admission.add(grantOf(subject, scope));
    if (access.anyScope.length > 0) {
      const either = grantAny(subject, access.anyScope);
      if (either === undefined) throw missingAny(access.anyScope);
      admission.addEither(either);
    }
    if (access.resource !== undefined) {
      const id = idAt(input, access.resource.path);
      const held = checkResource(access.resource, subject, id, ownership);
      if (held !== undefined) admission.add(held);
    }
    return admission;
  } catch (error) {
    admission[Symbol.dispose]();
    throw error;
  }
}

/**
 * Check the resource that the handler gets to see, where the schema has made another id of what {@linkcode admit}
 * was shown: by a default, by a number that becomes text, by a change of case.
 *
 * @returns the right, if it is another; hold it while the call lasts.
 * @throws {CallError} `FORBIDDEN`
 */
export function admitChecked(
  { resource }: CompiledAccess,
  subject: Subject,
  shown: unknown,
  checked: unknown,
  ownership: OwnershipProvider | undefined,
): Grant | undefined {
  if (resource?.path === undefined) return undefined;
  const id = idAt(checked, resource.path);
  if (id === idAt(shown, resource.path)) return undefined;
  return checkResource(resource, subject, id, ownership);
}

/** Whether the subject could call it with some input: for lists. */
export function mayCall(
  access: CompiledAccess,
  subject: Subject,
  ownership: OwnershipProvider | undefined,
): boolean {
  try {
    admit(access, subject, undefined, ownership)?.[Symbol.dispose]();
    return true;
  } catch {
    // FORBIDDEN: what may not be called is not shown.
    return false;
  }
}

function grantOf(subject: Subject, { text, request }: NeededScope): Grant {
  try {
    return subject.grant(request);
  } catch (error) {
    if (error instanceof AccessDenied) throw forbidden(`missing required scope: ${text}`, error);
    if (error instanceof AccessRevoked) throw forbidden(error.message, error);
    throw error;
  }
}

function grantAny(subject: Subject, scopes: readonly NeededScope[]): Grant | undefined {
  const scope = scopes.find(({ request }) => subject.allows(request));
  return scope === undefined ? undefined : grantOf(subject, scope);
}

function missingAny(scopes: readonly NeededScope[]): CallError {
  const list = scopes.map(({ text }) => text).join(", ");
  return forbidden(`missing required scope (any of: ${list})`);
}

function checkResource(
  { type, action }: NeededResource,
  subject: Subject,
  id: string | undefined,
  ownership: OwnershipProvider | undefined,
): Grant | undefined {
  if (ownership !== undefined) {
    const owned = (it: Identity): boolean =>
      id === undefined ? ownership.ownsAny(it, type) : ownership.owns(it, type, id, action);
    const text =
      id === undefined
        ? `no owned resources of type: ${type}`
        : `not owner of resource: ${type}/${brief(id)}`;
    // Not held: an operation that removes what it works on is not ended by that.
    holdOf(subject, `${type}/${brief(id ?? "*")}`, owned, text)[Symbol.dispose]();
    return undefined;
  }
  const name = `${type}/${brief(id ?? action ?? "*")}`;
  const listed = ({ resources }: Identity): boolean => {
    const names = Object.hasOwn(resources, type) ? resources[type]! : [];
    return id === undefined ? names.length > 0 : names.includes(id) || names.includes("*");
  };
  return holdOf(subject, name, listed, `missing resource: ${name}`);
}

function holdOf(
  subject: Subject,
  right: string,
  stands: (peer: Identity) => boolean,
  missing: string,
): Grant {
  try {
    return subject.hold(right, stands);
  } catch (error) {
    if (error instanceof AccessDenied) throw forbidden(missing, error);
    if (error instanceof AccessRevoked) throw forbidden(error.message, error);
    throw error;
  }
}

/** Only text counts as an id; anything else there is none. */
function idAt(input: unknown, path: readonly string[] | undefined): string | undefined {
  if (path === undefined) return undefined;
  let at = input;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<string, unknown>)[key];
  }
  return typeof at === "string" ? at : undefined;
}

/** A refusal, as the caller sees it. */
export function forbidden(message: string, cause?: unknown): CallError {
  return remoteError("FORBIDDEN", message, cause === undefined ? undefined : { cause });
}

function invalidRule(name: string, text: string, options?: ErrorOptions): TypeError {
  return new TypeError(`cannot use access of operation ${quote(name)}: ${text}`, options);
}

/** As much of an id as is told: it is the caller's, and of any length. */
function brief(id: string): string {
  return id.slice(0, 256);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
