/**
 * What in a configuration is well-formed by itself, and does not go together.
 *
 * It looks at the file as it was written, which may be wrong in other places: all that is wrong is told at once.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { DEFAULT_CAPS, DEFAULT_PENALTIES } from "./limit-values.ts";
import { nearestWord } from "./nearest-word.ts";
import { parseDuration } from "./duration.ts";
import { USERS } from "./login-name.ts";
import { parseScopeEntry } from "./scope-entry.ts";
import type { TomlPath } from "./toml-positions.ts";

export interface Conflict {
  readonly at: TomlPath;
  readonly message: string;
}

type Table = Readonly<Record<string, unknown>>;

/** What clashes in a parsed file. Never throws, whatever stands there. */
export function conflicts(root: object): readonly Conflict[] {
  const { peers, api_keys: apiKeys, roles, limits } = root as Table;
  const found: Conflict[] = [];
  const roleNames = Object.keys(tableOf(roles));
  const names = new Map<string, string>();
  const keys = new Map<string, string>();
  const tokens = new Map<string, string>();
  const prefixes = new Set<string>();

  /** @returns whose it is already. */
  const claim = (taken: Map<string, string>, what: unknown, by: string): string | undefined => {
    if (typeof what !== "string") return undefined;
    const other = taken.get(what);
    if (other === undefined) taken.set(what, by);
    return other;
  };
  const checkRoles = (scopes: unknown, at: TomlPath): void => {
    for (const [index, entry] of listOf(scopes).entries()) {
      const role = roleOf(entry);
      if (role === undefined || roleNames.includes(role)) continue;
      const near = nearestWord(role, roleNames);
      const hint = near === undefined ? "add it to [roles]" : `did you mean "@${near}"?`;
      const message = `unknown role ${JSON.stringify(role)}: ${hint}`;
      found.push({ at: Array.isArray(scopes) ? [...at, index] : at, message });
    }
  };

  // The schema steps over it, wherever names are free.
  const checkProto = (table: Table, at: TomlPath, what: string): void => {
    if (!Object.hasOwn(table, "__proto__")) return;
    const message = `cannot use ${what} "__proto__": expected a letter or digit first`;
    found.push({ at: [...at, "__proto__"], message });
  };

  checkProto(tableOf(roles), ["roles"], "role");
  checkProto(tableOf(peers), ["peers"], "peer");
  for (const [name, value] of Object.entries(tableOf(peers))) {
    const at = ["peers", name];
    const peer = tableOf(value);
    const resources = tableOf(peer["resources"]);
    checkProto(resources, [...at, "resources"], "name");
    if (peer["user"] !== undefined && Object.hasOwn(resources, USERS)) {
      const message = `expected "user" or "resources.${USERS}", not both`;
      found.push({ at: [...at, "resources", USERS], message });
    }
    const other = claim(names, name.toLowerCase(), name);
    if (other !== undefined) {
      const message = `there is a peer ${JSON.stringify(other)}: upper and lower case count as one`;
      found.push({ at, message });
    }
    const { fingerprint, fingerprints, token_hash: hash, scopes, enabled } = peer;
    if (fingerprint !== undefined && fingerprints !== undefined) {
      const message = 'expected "fingerprint" or "fingerprints", not both';
      found.push({ at: [...at, "fingerprints"], message });
    }
    checkRoles(scopes, [...at, "scopes"]);
    // Of peers that are let in by nothing, keys may be another's too.
    if (enabled === false) continue;
    for (const [index, each] of [fingerprint, ...listOf(fingerprints)].entries()) {
      const holder = claim(keys, each, name);
      if (holder === undefined) continue;
      const place = index === 0 ? ["fingerprint"] : ["fingerprints", index - 1];
      const message =
        holder === name
          ? "this key stands here twice"
          : `this key is also a key of ${JSON.stringify(holder)}`;
      found.push({ at: [...at, ...place], message });
    }
    const holder = claim(tokens, hash, name);
    if (holder !== undefined) {
      const message = `this token is also the token of ${JSON.stringify(holder)}`;
      found.push({ at: [...at, "token_hash"], message });
    }
  }

  for (const [index, value] of (Array.isArray(apiKeys) ? apiKeys : []).entries()) {
    const at = ["api_keys", index];
    const { prefix, hash, scopes } = tableOf(value);
    checkRoles(scopes, [...at, "scopes"]);
    if (typeof prefix === "string") {
      if (prefixes.has(prefix)) {
        const message = `there is another API key with the prefix ${JSON.stringify(prefix)}`;
        found.push({ at: [...at, "prefix"], message });
      }
      prefixes.add(prefix);
    }
    const by = typeof prefix === "string" ? prefix : `api_keys[${index}]`;
    const holder = claim(tokens, hash, by);
    if (holder !== undefined) {
      const message = `this token is also the token of ${JSON.stringify(holder)}`;
      found.push({ at: [...at, "hash"], message });
    }
  }
  return [...found, ...limitConflicts(tableOf(limits)), ...sshConflicts(root as Table)];
}

/** A port of its own is of no use to a service that is not there. */
function sshConflicts({ handlers, ssh }: Table): readonly Conflict[] {
  const { listen } = tableOf(ssh);
  if (!Array.isArray(handlers) || handlers.includes("ssh") || listOf(listen).length === 0)
    return [];
  return [{ at: ["ssh", "listen"], message: 'expected "ssh" among "handlers"' }];
}

function limitConflicts(limits: Table): readonly Conflict[] {
  const found: Conflict[] = [];
  const {
    sources = DEFAULT_CAPS.blocks,
    handshakes = DEFAULT_CAPS.pending,
    connections = DEFAULT_CAPS.connections,
  } = limits;
  const numbers = [sources, handshakes, connections];
  if (numbers.every((each): each is number => typeof each === "number")) {
    const [remembered, pending, live] = numbers as [number, number, number];
    if (remembered <= pending + live) {
      const at = ["sources", "connections", "handshakes"].find((key) =>
        Object.hasOwn(limits, key),
      )!;
      const message = `expected "sources" above ${pending + live}, "handshakes" and "connections" together; it is ${remembered}`;
      found.push({ at: ["limits", at], message });
    }
  }
  const penalties = tableOf(limits["penalties"]);
  const minimum = durationOf(penalties["minimum"], DEFAULT_PENALTIES.minimum);
  const maximum = durationOf(penalties["maximum"], DEFAULT_PENALTIES.maximum);
  if (minimum > maximum) {
    const at = Object.hasOwn(penalties, "minimum") ? "minimum" : "maximum";
    const message = 'expected "minimum" to be at most "maximum": else no penalty takes effect';
    found.push({ at: ["limits", "penalties", at], message });
  }
  return found;
}

/** `NaN`, which nothing is above, for what the schema refuses. */
function durationOf(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value !== "string") return Number.NaN;
  try {
    return parseDuration(value);
  } catch {
    return Number.NaN;
  }
}

function roleOf(entry: unknown): string | undefined {
  if (typeof entry !== "string" || !entry.startsWith("@")) return undefined;
  try {
    const parsed = parseScopeEntry(entry);
    return parsed.kind === "role" ? parsed.role : undefined;
  } catch {
    // The schema has said so.
    return undefined;
  }
}

const NOTHING: Table = Object.freeze({});

function tableOf(value: unknown): Table {
  const isTable = typeof value === "object" && value !== null && !Array.isArray(value);
  return isTable && !(value instanceof Date) ? (value as Table) : NOTHING;
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  return value === undefined ? [] : [value];
}
