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

/** All rights of those that have them listed. */
const ACTIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ["node", ["admin", "status"]],
  ["ssh", ["agent", "exec", "shell"]],
  ["tunnel", ["dial", "listen"]],
]);

/** Notes on an entry of a list of scopes: that it is everything, that it may be mistyped. */
export function scopeNotes(entry: string, roles: Roles): string[] {
  const why = whyPowerful(entry, roles);
  if (why !== undefined) return [`${entry} ${why}`];
  if (entry.startsWith("@")) {
    const role = entry.slice(1).replace(/ until .*$/, "");
    return roles.has(role)
      ? []
      : [`there is no role ${role} in alknet.toml: it grants nothing until there is one`];
  }
  const service = entry.split(":")[0]!;
  const actions = ACTIONS.get(service);
  if (actions !== undefined) return actionNotes(entry, service, actions);
  if (service === "*" || SERVICES.includes(service)) return [];
  const meant = nearestWord(service, SERVICES);
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return [`no service of alknet is called ${JSON.stringify(service)}${hint}`];
}

function actionNotes(entry: string, service: string, actions: readonly string[]): string[] {
  const [, action = "*"] = entry.replace(/ until .*$/, "").split(":");
  if (action === "*" || actions.includes(action)) return [];
  const meant = nearestWord(action, actions);
  const hint = meant === undefined ? `there are: ${actions.join(", ")}` : `did you mean ${meant}?`;
  return [
    `${entry} allows nothing: ${service} has no right called ${JSON.stringify(action)}; ${hint}`,
  ];
}
