/**
 * The folder for recordings of sessions, looked at before one is to begin: without it, nobody gets in.
 *
 * @module
 */

import { accessSync, constants } from "node:fs";
import { dirname } from "node:path";
import type { Config } from "@alknet/core/config";
import { missingFolders } from "@alknet/core/make-folders";
import { CommandError } from "./command-error.ts";

/** @throws {CommandError} `RECORDINGS_UNUSABLE` if `[ssh] record` names what cannot be written to. */
export function checkRecordings({ handlers, ssh, path }: Config): void {
  if (!handlers.includes("ssh") || ssh.record === undefined) return;
  const why = whyUnusable(ssh.record);
  if (why === undefined) return;
  throw new CommandError(`cannot record sessions in ${JSON.stringify(ssh.record)}: ${why}`, {
    code: "RECORDINGS_UNUSABLE",
    hint: recordingsHint(path),
  });
}

/** Why no file can be made in `folder`, which may be still to come; nothing is made. */
export function whyUnusable(folder: string): string | undefined {
  try {
    const [first] = missingFolders(folder);
    accessSync(first === undefined ? folder : dirname(first), constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** @param path of the configuration. */
export function recordingsHint(path: string): string {
  return `name a folder that the node may write to: record in [ssh] of ${path}`;
}
