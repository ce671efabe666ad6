/**
 * Names that people give in `alknet.toml`: those of nodes, peers and roles.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { TOKEN_PREFIX } from "../api-key.ts";
import { isPeerName } from "../peers.ts";
import { isRoleName } from "../scope-entry.ts";
import { quoted } from "./forms.ts";

export const NAME_PATTERN: string = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const NAME_EXPECTED = 'expected 1 to 64 letters, digits, ".", "_", "-", a letter or digit first';

export function parseNodeName(name: string): void {
  if (isPeerName(name)) return;
  throw new SyntaxError(`cannot use name ${quoted(name)}: ${NAME_EXPECTED}`);
}

export function parsePeerName(name: string): void {
  if (!isPeerName(name)) throw new SyntaxError(`cannot use peer ${quoted(name)}: ${NAME_EXPECTED}`);
  if (name.toLowerCase() === "owner") {
    throw new SyntaxError(`cannot use peer ${quoted(name)}: the name is that of this node's owner`);
  }
  if (name.toLowerCase().startsWith(TOKEN_PREFIX)) {
    const why = `names that begin with "${TOKEN_PREFIX}" are those of tokens`;
    throw new SyntaxError(`cannot use peer ${quoted(name)}: ${why}`);
  }
}

export function parseRoleName(name: string): void {
  if (isRoleName(name)) return;
  throw new SyntaxError(`cannot use role ${quoted(name)}: ${NAME_EXPECTED}`);
}
