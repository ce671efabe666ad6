/**
 * Find programs and run them.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";

/** Path of the program `name`, or `undefined`. Looks where root's and cargo's programs are, too. */
export function find(name) {
  const cargo = process.env.CARGO_HOME ?? join(homedir(), ".cargo");
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  folders.push(join(cargo, "bin"), "/usr/local/sbin", "/usr/sbin", "/sbin");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/**
 * Run a program to its end; what it prints goes to stderr, for stdout belongs to the node.
 *
 * @returns its exit code, or 1 if a signal ended it.
 */
export function run(program, args, { cwd, env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", 2, 2] });
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
