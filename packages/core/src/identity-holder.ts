/**
 * A peer or an API key with what it amounts to now, and what it is found by.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import type { Identity } from "./access.ts";
import type { ApiKeyEntry } from "./api-key.ts";
import { type PeerEntry, PeerError } from "./peers.ts";
import { effectiveScopes, type Roles } from "./scope-entry.ts";

/** An entry that grants less than its writer meant, and why. */
export interface IdentityProblem {
  /** `peer laptop`, `API key alk_abcd` */
  readonly subject: string;
  readonly message: string;
}

/** An entry, whatever it amounts to. */
export type Made =
  | { readonly kind: "peer"; readonly entry: PeerEntry }
  | { readonly kind: "apiKey"; readonly entry: ApiKeyEntry };

/** A peer or API key, with what it amounts to now. */
export type Holder = Made & {
  /** `undefined`: known, and let in by nothing. */
  readonly identity: Identity | undefined;
  /** When that changes by the clock, in milliseconds since 1970. */
  readonly changesAt: number;
};

export const NO_RESOURCES: Identity["resources"] = Object.freeze({});
const UNKNOWN_ROLE = "has a role that is not defined: ";

/** Whoever shows a key of two is neither. */
export const CONTESTED: Holder = Object.freeze({
  kind: "apiKey",
  entry: Object.freeze({ prefix: "", hash: "", scopes: [] }),
  identity: undefined,
  changesAt: Infinity,
});

export function keyOf(made: Made): string {
  return made.kind === "peer" ? made.entry.peerId.toLowerCase() : made.entry.prefix;
}

export function nameOf(made: Made): string {
  return made.kind === "peer" ? made.entry.peerId : made.entry.prefix;
}

export function subjectOf(made: Made): string {
  return made.kind === "peer" ? `peer ${made.entry.peerId}` : `API key ${made.entry.prefix}`;
}

/** What lets it in; nothing, while it is disabled. */
export function fingerprintsOf(made: Made): readonly string[] {
  return made.kind === "peer" && made.entry.enabled ? made.entry.fingerprints : [];
}

/** 64 hex digits. */
export function hashOf(made: Made): string | undefined {
  if (made.kind === "apiKey") return made.entry.hash.slice("sha256:".length);
  return made.entry.enabled ? made.entry.tokenHash?.slice("sha256:".length) : undefined;
}

/** The identity of before if nothing in it has changed: then nobody has to look at their grants. */
export function identityOf(
  entry: Pick<PeerEntry, "peerId" | "resources" | "displayName">,
  scopes: readonly string[],
  before: Identity | undefined,
): Identity {
  const { peerId: id, resources = NO_RESOURCES, displayName } = entry;
  if (
    before !== undefined &&
    before.id === id &&
    before.displayName === displayName &&
    sameTexts(before.scopes, scopes) &&
    (before.resources === resources || isDeepStrictEqual(before.resources, resources))
  ) {
    return before;
  }
  return Object.freeze({
    id,
    scopes,
    resources,
    ...(displayName === undefined ? {} : { displayName }),
  });
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((each, index) => each === b[index]));
}

/** What is wrong when `holder` has a credential that `other` has, too. */
export function contested(
  holder: Holder,
  other: Holder,
  credential: string,
  index?: number,
): { problem: IdentityProblem; error: PeerError } {
  const isKey = credential.includes(":");
  const whose = other === CONTESTED ? "others" : JSON.stringify(nameOf(other));
  const message = isKey
    ? `its key ${credential} is also a key of ${whose}`
    : `its token is also the token of ${whose}`;
  const field = isKey ? (["fingerprints", index] as const) : (["tokenHash"] as const);
  const code = isKey ? "DUPLICATE_FINGERPRINT" : "DUPLICATE_TOKEN";
  return {
    problem: { subject: subjectOf(holder), message },
    error: new PeerError(code, nameOf(holder), field as PeerError["field"], message),
  };
}

/** What is wrong if `holder` has a role that is none. */
export function roleProblem(holder: Holder, roles: Roles): IdentityProblem | undefined {
  const { scopes } = holder.entry;
  if (!scopes.some((each) => each.startsWith("@"))) return undefined;
  const { unknownRoles } = effectiveScopes(scopes, roles, 0);
  if (unknownRoles.length === 0) return undefined;
  return { subject: subjectOf(holder), message: UNKNOWN_ROLE + unknownRoles.join(", ") };
}
