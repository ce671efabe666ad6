/**
 * The folder of a node, looked at before anything is done in it: what is wrong with `ALKNET_HOME` is told as
 * such, and not by the first file that cannot be had.
 *
 * @module
 */

import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { type Home, homePaths, type HomeSystem } from "@alknet/core/home";
import { makeFolders, missingFolders } from "@alknet/core/make-folders";
import { CommandError } from "./command-error.ts";

/**
 * The paths of this node.
 *
 * @throws {CommandError} `HOME_INVALID` if `ALKNET_HOME` is relative, or the path too long for a socket.
 */
export function findHome(system: HomeSystem): Home {
  const folder = system.env["ALKNET_HOME"];
  if (folder && !isAbsolute(folder)) {
    throw new CommandError(
      `cannot use ALKNET_HOME ${JSON.stringify(folder)}: expected an absolute path`,
      // Relative, it would be another node in every folder.
      { code: "HOME_INVALID", hint: `export ALKNET_HOME="$PWD/${folder.replace(/^\.\//, "")}"` },
    );
  }
  try {
    return homePaths(system);
  } catch (error) {
    throw new CommandError((error as Error).message, { code: "HOME_INVALID", hint: HINT });
  }
}

/**
 * Make the folder, and see that a key can be written there if there is none.
 *
 * @throws {CommandError} `HOME_UNUSABLE`
 */
export function makeHome({ identity }: Home): void {
  const folder = dirname(identity);
  try {
    makeFolders(folder);
    // Asking who may write is not enough: /proc and /sys say yes to root.
    if (!existsSync(identity)) rmdirSync(mkdtempSync(join(folder, ".try-")));
  } catch (error) {
    throw unusable(folder, error as Error);
  }
}

/**
 * See that the folder is one, or could be; make nothing.
 *
 * @throws {CommandError} `HOME_UNUSABLE`
 */
export function lookAtHome({ identity }: Home): void {
  const folder = dirname(identity);
  try {
    missingFolders(folder);
  } catch (error) {
    throw unusable(folder, error as Error);
  }
}

const HINT = 'name another folder, one of yours: export ALKNET_HOME="$HOME/.alknet"';

function unusable(folder: string, cause: Error): CommandError {
  const text = `cannot use folder ${JSON.stringify(folder)}: ${cause.message}`;
  return new CommandError(text, { code: "HOME_UNUSABLE", hint: HINT, cause });
}
