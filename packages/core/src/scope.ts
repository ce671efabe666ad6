/**
 * Scopes: rights as text, `service:action[:resource]`.
 *
 * ```text
 * scope    = "*" | service ":*" | service ":" action [ ":" resource ]
 * ```
 *
 * `*` is everything, `service:*` every action of a service, and an action without a resource every
 * resource of it. All after the second colon is the resource, so it may contain colons. What a resource
 * means depends on the action: an address rule for `tunnel:dial` and `tunnel:listen` (see
 * `address-rules.ts`), words of a command for `ssh:exec`, else a glob (see `glob.ts`).
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import {
  type AddressResource,
  type AddressRule,
  bareMatches,
  knownAddresses,
  parseAddressRule,
  parseTarget,
  ruleMatches,
  ruleMayMatch,
  type Target,
} from "./address-rules.ts";
import { formatHostPort } from "./host.ts";
import { type Glob, matchGlob, parseGlob } from "./glob.ts";
import { invalidText } from "./invalid-text.ts";
import { formatIp } from "./ip-address.ts";

/** What an action is done to: an address or socket for `tunnel:*`, else a text of the service's own. */
export type Resource = string | AddressResource;

/** A scope, parsed once. */
export interface Scope {
  readonly text: string;
  /** `undefined`: every service. */
  readonly service: string | undefined;
  /** `undefined`: every action of the service. */
  readonly action: string | undefined;
  /** `undefined`: every resource of the action. */
  readonly resource: ResourcePattern | undefined;
}

export type ResourcePattern =
  | { readonly kind: "address"; readonly rule: AddressRule }
  | { readonly kind: "glob"; readonly glob: Glob }
  /** Matched word by word by the service that runs it; until one does, it matches nothing. */
  | { readonly kind: "command"; readonly text: string };

/** Longest scope, in UTF-16 code units. */
export const MAX_SCOPE: number = 1_024;

const WORD = /^[a-z][a-z0-9-]{0,31}$/;

/** How the resources of an action are written, where it is not a glob. */
const resourceKinds: ReadonlyMap<string, ResourcePattern["kind"]> = new Map([
  ["tunnel:dial", "address"],
  ["tunnel:listen", "address"],
  ["ssh:exec", "command"],
]);

/**
 * Read a scope.
 *
 * @throws {InvalidText} `SCOPE_INVALID`; the message quotes the text and says what was expected.
 */
export function parseScope(text: string): Scope {
  if (text.length > MAX_SCOPE) throw invalid(text, `expected at most ${MAX_SCOPE} characters`);
  if (text === "*") return { text, service: undefined, action: undefined, resource: undefined };
  const [service = "", action, ...rest] = text.split(":");
  if (!WORD.test(service) || action === undefined) {
    throw invalid(text, 'expected "service:action", "service:action:resource", "service:*" or "*"');
  }
  if (action === "*") {
    if (rest.length > 0) throw invalid(text, `expected no resource after "${service}:*"`);
    return { text, service, action: undefined, resource: undefined };
  }
  if (!WORD.test(action)) {
    throw invalid(text, `expected after "${service}:" an action in lower case, or "*"`);
  }
  // Here a wrong word would not be a right of another service, but one that silently never matches.
  if (service === "tunnel" && !resourceKinds.has(`${service}:${action}`)) {
    throw invalid(text, 'expected as action "dial", "listen" or "*"');
  }
  if (rest.length === 0) return { text, service, action, resource: undefined };
  return { text, service, action, resource: parseResource(text, service, action, rest.join(":")) };
}

function parseResource(
  text: string,
  service: string,
  action: string,
  resource: string,
): ResourcePattern {
  if (resource === "") {
    throw invalid(text, `expected a resource after "${service}:${action}:", or no colon there`);
  }
  switch (resourceKinds.get(`${service}:${action}`)) {
    case "address":
      try {
        return { kind: "address", rule: parseAddressRule(resource, action === "listen" ? 0 : 1) };
      } catch (error) {
        throw invalid(text, (error as Error).message);
      }
    case "command":
      return { kind: "command", text: resource };
    case "glob":
    case undefined:
      return { kind: "glob", glob: parseGlob(resource) };
  }
}

/** Scopes of one identity, arranged for look-up by action. */
export interface Rights {
  /** `*` is among them. */
  readonly everything: boolean;
  /** Services with `service:*`. */
  readonly services: ReadonlySet<string>;
  readonly actions: ReadonlyMap<string, ActionRights>;
  /** Texts that did not parse. They grant nothing. */
  readonly invalid: readonly string[];
}

interface ActionRights {
  /** Granted without a resource. */
  bare: boolean;
  readonly patterns: ResourcePattern[];
}

/** Arrange `scopes` for look-up. One that does not parse grants nothing, and is listed. */
export function compileScopes(scopes: readonly string[]): Rights {
  const services = new Set<string>();
  const actions = new Map<string, ActionRights>();
  const invalidScopes: string[] = [];
  let everything = false;
  for (const text of scopes) {
    let scope: Scope;
    try {
      scope = parseScope(text);
    } catch {
      // Who let it in has checked it, or has said so; here it must not cost a peer its other rights.
      invalidScopes.push(text);
      continue;
    }
    if (scope.service === undefined) everything = true;
    else if (scope.action === undefined) services.add(scope.service);
    else {
      const key = `${scope.service}:${scope.action}`;
      const rights = actions.get(key) ?? { bare: false, patterns: [] };
      actions.set(key, rights);
      if (scope.resource === undefined) rights.bare = true;
      else rights.patterns.push(scope.resource);
    }
  }
  return { everything, services, actions, invalid: invalidScopes };
}

/** An action and what it is done to, parsed once. */
export interface Request {
  /** `service:action` */
  readonly action: string;
  readonly service: string;
  readonly resource:
    | { readonly kind: "none" }
    | { readonly kind: "text"; readonly text: string }
    | { readonly kind: "target"; readonly target: Target };
}

/**
 * Read what code is about to do.
 *
 * @throws {TypeError} for a mistake in that code: `action` is not `service:action`, or the resource is
 *   not of the action's kind (an address for `tunnel:*`, text elsewhere).
 */
export function parseRequest(action: string, resource?: Resource): Request {
  const [service = "", name = "", ...rest] = action.split(":");
  if (!WORD.test(service) || !WORD.test(name) || rest.length > 0) {
    throw new TypeError(`cannot ask for ${JSON.stringify(action)}: expected "service:action"`);
  }
  if (resourceKinds.get(action) === "address") {
    if (typeof resource !== "object") {
      throw new TypeError(
        `cannot ask for ${action}: expected { host, port, address } or { unixPath }`,
      );
    }
    return { action, service, resource: { kind: "target", target: parseTarget(resource) } };
  }
  if (resource === undefined) return { action, service, resource: { kind: "none" } };
  if (typeof resource === "string")
    return { action, service, resource: { kind: "text", text: resource } };
  throw new TypeError(`cannot ask for ${action}: expected a resource of text`);
}

/** What code is about to do, if it has not been read yet: {@linkcode parseRequest}. */
export function requestOf(asked: string | Request, resource?: Resource): Request {
  return typeof asked === "string" ? parseRequest(asked, resource) : asked;
}

/**
 * Whether `rights` cover `request`. Every address that a target can have must be covered, so a name
 * without its address is not, unless its addresses are known (`localhost`).
 */
export function permits(rights: Rights, request: Request): boolean {
  const { resource } = request;
  if (resource.kind !== "target") return permitsText(rights, request);
  const { target } = resource;
  if (target.kind !== "unresolved") return permitsTarget(rights, request, target);
  return knownAddresses(target)?.every((each) => permitsTarget(rights, request, each)) ?? false;
}

/**
 * Whether `rights` may turn out to cover `request` once a name in it has been resolved: to refuse early
 * what no address could make right, never to allow.
 */
export function mayPermit(rights: Rights, request: Request): boolean {
  const { resource } = request;
  if (resource.kind !== "target" || resource.target.kind !== "unresolved") {
    return permits(rights, request);
  }
  const { target } = resource;
  const known = knownAddresses(target);
  if (known !== undefined) return known.some((each) => permitsTarget(rights, request, each));
  if (isBare(rights, request)) return true;
  const patterns = rights.actions.get(request.action)?.patterns ?? [];
  return patterns.some((each) => each.kind === "address" && ruleMayMatch(each.rule, target));
}

/** The scope that would cover `request`, as one would write it. It names the target: not for logs. */
export function neededScope({ action, resource }: Request): string {
  switch (resource.kind) {
    case "none":
      return action;
    case "text":
      return `${action}:${resource.text}`;
    case "target":
      return `${action}:${neededRule(resource.target)}`;
  }
}

function permitsText(rights: Rights, request: Request): boolean {
  if (isBare(rights, request)) return true;
  const { resource } = request;
  if (resource.kind !== "text") return false;
  const patterns = rights.actions.get(request.action)?.patterns ?? [];
  return patterns.some((each) => each.kind === "glob" && matchGlob(each.glob, resource.text));
}

function permitsTarget(rights: Rights, request: Request, target: Target): boolean {
  if (bareMatches(target) && isBare(rights, request)) return true;
  const patterns = rights.actions.get(request.action)?.patterns ?? [];
  return patterns.some((each) => each.kind === "address" && ruleMatches(each.rule, target));
}

function isBare(rights: Rights, { action, service }: Request): boolean {
  return (
    rights.everything || rights.services.has(service) || rights.actions.get(action)?.bare === true
  );
}

function neededRule(target: Target): string {
  switch (target.kind) {
    case "address": {
      const { name, address, port, special } = target;
      const text = formatIp(address);
      // "localhost" in a scope is loopback, whatever the name resolves to here.
      const named = name === undefined || name === "localhost" ? text : name;
      if (special === undefined) return formatHostPort({ host: named, port });
      // What no name opens: the address itself, or the word for loopback.
      const local = text === "::1" || (address.family === 4 && text.startsWith("127."));
      return formatHostPort({ host: local ? "localhost" : text, port });
    }
    case "unresolved":
    case "elsewhere":
      return formatHostPort({ host: target.name, port: target.port });
    case "unix":
      return `unix:${target.path}`;
    case "invalid":
      return "<invalid>";
  }
}

function invalid(text: string, expected: string): SyntaxError {
  return invalidText("SCOPE_INVALID", "scope", text, expected);
}
