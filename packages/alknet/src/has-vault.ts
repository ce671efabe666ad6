/**
 * Whether there is a vault in a folder.
 *
 * @module
 */

import { lstatSync } from "node:fs";
import type { Home } from "@alknet/core/home";

/**
 * Whether anything has the name of the vault's file, be it a link to a disk that is not there: who takes that for "no
 * vault" gives the node another identity.
 */
export function hasVault({ vault }: Pick<Home, "vault">): boolean {
  return lstatSync(vault, { throwIfNoEntry: false }) !== undefined;
}
