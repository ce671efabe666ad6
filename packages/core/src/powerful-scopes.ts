/**
 * Rights that amount to everything: said to be so wherever they are granted.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { NO_ROLES, parseScopeEntry, type Roles } from "./scope-entry.ts";
import { parseScope } from "./scope.ts";

/** Who has one of these can give itself the rest: by changing the node, or as the user that it runs as. */
const POWERFUL: readonly (readonly [service: string, action: string, why: string])[] = [
  ["node", "admin", "changes this node, rights included"],
  ["ssh", "shell", "is a shell of the account that the node gives it"],
  ["ssh", "exec", "runs any command as the account that the node gives it"],
];

/**
 * Why an entry of a list of scopes amounts to everything.
 *
 * @returns `undefined` if it does not, or does not parse.
 */
export function whyPowerful(entry: string, roles: Roles = NO_ROLES): string | undefined {
  try {
    const parsed = parseScopeEntry(entry);
    const scopes = parsed.kind === "scope" ? [parsed.scope] : (roles.get(parsed.role) ?? []);
    for (const text of scopes) {
      const { service, action, resource } = parseScope(text);
      if (service === undefined) return "is everything";
      if (resource !== undefined) continue;
      const found = POWERFUL.find(
        (each) => each[0] === service && (action === undefined || each[1] === action),
      );
      if (found !== undefined) return found[2];
    }
    return undefined;
  } catch {
    // It grants nothing.
    return undefined;
  }
}
