/**
 * What is worth saying of a right when it is granted.
 *
 * @module
 */

import { nearestWord } from "@alknet/core/nearest-word";
import { whyPowerful } from "@alknet/core/powerful-scopes";
import type { Roles } from "@alknet/core/scope-entry";

/** Services of ours, here and to come. Others may have services of their own. */
const SERVICES: readonly string[] = [
  "call",
  "dns",
  "fs",
  "git",
  "http",
  "mcp",
  "msg",
  "node",
  "relay",
  "sftp",
  "ssh",
  "tunnel",
];

/** Notes on an entry of a list of scopes: that it is everything, that it may be mistyped. */
export function scopeNotes(entry: string, roles: Roles): string[] {
  const why = whyPowerful(entry, roles);
  if (why !== undefined) return [`${entry} ${why}`];
  if (entry.startsWith("@")) {
    const role = entry.slice(1).replace(/ until .*$/, "");
    return roles.has(role)
      ? []
      : [`there is no role ${role}: it grants nothing until there is one`];
  }
  const service = entry.split(":")[0]!;
  if (service === "*" || SERVICES.includes(service)) return [];
  const meant = nearestWord(service, SERVICES);
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return [`no service of alknet is called ${JSON.stringify(service)}${hint}`];
}
