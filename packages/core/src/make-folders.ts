/**
 * Make a folder and those above it.
 *
 * @module
 */

import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Make `folder` and what is missing above it, for their owner alone (0700). What is there stays as it is.
 *
 * Not `mkdirSync(…, { recursive: true })`: that one never returns where the system says of a new folder that
 * its parent does not exist, as it does below `/proc`.
 *
 * @throws {NodeJS.ErrnoException} with the system's `code`, `path` and `syscall`; `ENOTDIR` if there is a file in
 *   the way.
 */
export function makeFolders(folder: string): void {
  for (const each of missingFolders(folder)) {
    try {
      mkdirSync(each, { mode: 0o700 });
    } catch (error) {
      // Somebody else was faster.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/**
 * Of `folder` and those above it the ones that are not there, in the order in which they can be made.
 *
 * @throws {NodeJS.ErrnoException} as {@linkcode makeFolders}.
 */
export function missingFolders(folder: string): string[] {
  const missing: string[] = [];
  for (let at = folder; ; at = dirname(at)) {
    const found = kindOf(at);
    if (found === "folder") return missing;
    if (found === "file") {
      const text = `ENOTDIR: ${JSON.stringify(at)} is not a folder`;
      throw Object.assign(new Error(text), { code: "ENOTDIR", syscall: "mkdir", path: folder });
    }
    missing.unshift(at);
    if (dirname(at) === at) return missing;
  }
}

function kindOf(path: string): "folder" | "file" | undefined {
  try {
    return statSync(path).isDirectory() ? "folder" : "file";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
