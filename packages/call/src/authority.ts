/**
 * A handler's own authority: with whose rights it calls other operations, and which of them it can reach.
 *
 * The caller was checked at the gate; inside, a handler acts under rights of its own, as narrow as it declares
 * them. They are no identity: nothing resolves to one, and no peer can have its name.
 *
 * @module
 */

import { AccessDenied, type Grant, type Identity } from "@alknet/core/access";
import { type Glob, matchGlob, parseGlob } from "@alknet/core/glob";
import { compileScopes, mayPermit, neededScope, requestOf, permits } from "@alknet/core/scope";
import type { Subject } from "./access-control.ts";
import type { Composition } from "./operation.ts";

/** What a handler calls others with. */
export interface Authority extends Subject {
  readonly peer: Identity;
  /** Whether it may call the operation, wherever it is. */
  readonly reaches: (operation: string) => boolean;
  /** Whether it may call the operation of that peer. */
  readonly reachesAt: (peer: string, operation: string) => boolean;
}

/**
 * The authority of the operation `name`.
 *
 * Its identity has the operation's name, which no peer can have: theirs have no slash.
 *
 * @throws {SyntaxError} if a scope or a glob does not parse.
 */
export function compileAuthority(name: string, composes: Composition | undefined): Authority {
  const { operations = [], scopes = [], resources = {} } = composes ?? {};
  const rights = compileScopes(scopes);
  if (rights.invalid.length > 0) {
    throw new SyntaxError(
      `cannot use scopes of operation ${JSON.stringify(name)}: ${rights.invalid.map((text) => JSON.stringify(text)).join(", ")}`,
    );
  }
  const anywhere: Glob[] = [];
  const pinned: { peer: string; glob: Glob }[] = [];
  for (const each of operations) {
    if (typeof each === "string") anywhere.push(parseGlob(each));
    else if ("peer" in each) pinned.push({ peer: each.peer, glob: parseGlob(each.operation) });
    else anywhere.push(parseGlob(each.name));
  }
  const peer = Object.freeze({ id: name, scopes, resources });
  const reaches = (operation: string): boolean =>
    anywhere.some((glob) => matchGlob(glob, operation));
  return {
    peer,
    reaches,
    reachesAt: (at, operation) =>
      reaches(operation) || pinned.some((pin) => pin.peer === at && matchGlob(pin.glob, operation)),
    grant(asked, resource) {
      const request = requestOf(asked, resource);
      if (permits(rights, request)) return standing(request.action);
      throw denied(name, request.action, neededScope(request));
    },
    hold(right, stands) {
      if (stands(peer)) return standing(right);
      throw denied(name, right, right);
    },
    allows: (asked, resource) => mayPermit(rights, requestOf(asked, resource)),
  };
}

function denied(name: string, action: string, missing: string): AccessDenied {
  return new AccessDenied(action, `operation ${JSON.stringify(name)} lacks ${action}`, missing);
}

/** Declared with the operation, and never taken back. */
function standing(action: string): Grant {
  return {
    action,
    get signal() {
      return new AbortController().signal;
    },
    followRevocation() {},
    [Symbol.dispose]() {},
  };
}
