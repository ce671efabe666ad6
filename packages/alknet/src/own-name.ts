/**
 * What this node calls itself when others ask for a name.
 *
 * Pure: the host's name is handed in.
 *
 * @module
 */

import { mayBePeerId } from "@alknet/core/peers";

/**
 * The name of the configuration, else the first label of the host's.
 *
 * @returns `undefined` if that could not be a peer's name, or is that of every machine.
 */
export function ownName(configured: string | undefined, hostname: string): string | undefined {
  if (configured !== undefined) return configured;
  const [label = ""] = hostname.split(".");
  const name = label.replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 64);
  return mayBePeerId(name) && name.toLowerCase() !== "localhost" ? name : undefined;
}
