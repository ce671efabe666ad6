/**
 * Entries of a list of scopes: a scope or a role, for ever or until a moment.
 *
 * ```text
 * entry = ( scope | "@" role ) [ " until " RFC 3339 time in UTC ]
 * ```
 *
 * A role is a name for a list of scopes. `until` is part of the right: from that moment on it is gone.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { type InvalidText, invalidText } from "./invalid-text.ts";
import { parseScope } from "./scope.ts";

/** An entry, parsed once. */
export type ScopeEntry = {
  readonly text: string;
  /** Milliseconds since 1970 UTC; `undefined`: for ever. */
  readonly until: number | undefined;
} & (
  | { readonly kind: "scope"; readonly scope: string }
  | { readonly kind: "role"; readonly role: string }
);

/** Scopes by the name of the role. They are scopes alone: no roles, and for ever. */
export type Roles = ReadonlyMap<string, readonly string[]>;

export const NO_ROLES: Roles = new Map();

/** What a list of entries amounts to at a moment. */
export interface EffectiveScopes {
  readonly scopes: readonly string[];
  /** When that changes by the clock alone, in milliseconds since 1970; `Infinity`: never. */
  readonly changesAt: number;
  /** Roles that nobody has defined. They grant nothing. */
  readonly unknownRoles: readonly string[];
}

const UNTIL =
  /^(.*) until ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z)$/s;

/**
 * Read an entry.
 *
 * @throws {InvalidText} `SCOPE_INVALID`; the message quotes the text and says what was expected.
 */
export function parseScopeEntry(text: string): ScopeEntry {
  const dated = UNTIL.exec(text);
  const right = dated?.[1] ?? text;
  const until = dated === null ? undefined : parseTime(dated[2]!);
  // A time that is not one must not become part of a path, and the right one for ever. (A path with this
  // word in it can be written with a `*`.)
  if (until === null || / until( |$)/.test(right)) {
    throw invalid(text, 'expected after "until" a time in UTC, "2026-12-31T18:00:00Z"');
  }
  if (!right.startsWith("@")) {
    parseScope(right);
    return { kind: "scope", text, scope: right, until };
  }
  const role = right.slice(1);
  if (!isRoleName(role)) {
    throw invalid(text, 'expected after "@" the name of a role: letters, digits, ".", "_", "-"');
  }
  return { kind: "role", text, role, until };
}

/** Write an entry. `until` is in milliseconds since 1970 UTC, cut to whole seconds. */
export function formatScopeEntry(right: string, until: number | undefined): string {
  if (until === undefined) return right;
  return `${right} until ${new Date(until).toISOString().replace(/\.[0-9]{3}Z$/, "Z")}`;
}

/** Whether `text` can be the name of a role: 1 to 64 letters, digits, `.`, `_`, `-`. */
export function isRoleName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

/**
 * What `entries` grant at `wallTime`: roles spelt out, and what is over left out.
 *
 * An entry that does not parse is passed on as it is: it grants nothing, and whoever compiles the scopes
 * says so.
 */
export function effectiveScopes(
  entries: readonly string[],
  roles: Roles,
  wallTime: number,
): EffectiveScopes {
  // As nearly all lists are: no copy, and two peers with one list share it.
  if (!entries.some(isSpecial)) {
    return { scopes: entries, changesAt: Infinity, unknownRoles: [] };
  }
  const scopes: string[] = [];
  const unknownRoles: string[] = [];
  let changesAt = Infinity;
  for (const text of entries) {
    const entry = isSpecial(text) ? tryParse(text) : undefined;
    if (entry === undefined) {
      scopes.push(text);
      continue;
    }
    const { until = Infinity } = entry;
    if (until <= wallTime) continue;
    changesAt = Math.min(changesAt, until);
    if (entry.kind === "scope") scopes.push(entry.scope);
    else {
      const named = roles.get(entry.role);
      if (named === undefined) unknownRoles.push(entry.role);
      else scopes.push(...named);
    }
  }
  return { scopes: Object.freeze(scopes), changesAt, unknownRoles };
}

/** Whether it is a role, or may have an end. */
function isSpecial(text: string): boolean {
  return text.startsWith("@") || text.includes(" until ");
}

function tryParse(text: string): ScopeEntry | undefined {
  try {
    return parseScopeEntry(text);
  } catch {
    // Not our place to complain: it was let in by whoever wrote the store.
    return undefined;
  }
}

/** @returns `null` if there is no such day or time. */
function parseTime(text: string): number | null {
  const time = Date.parse(text);
  // 2026-02-30 would be a day in March.
  return Number.isNaN(time) || new Date(time).toISOString().slice(0, 19) !== text.slice(0, 19)
    ? null
    : time;
}

function invalid(text: string, expected: string): InvalidText {
  return invalidText("SCOPE_INVALID", "scope", text, expected);
}
