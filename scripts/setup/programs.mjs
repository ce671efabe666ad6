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
import { setTimeout as sleep } from "node:timers/promises";
import { SetupError } from "./say.mjs";

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
 * Ctrl-C or SIGTERM ends it, and us: nothing is left running in the background.
 *
 * @returns its exit code, or 1 if a signal ended it.
 * @throws {SetupError} if we were interrupted.
 */
export function run(program, args, { cwd, env } = {}) {
  return new Promise((resolve, reject) => {
    let child;
    let interrupted = false;
    const interrupt = (signal) => {
      interrupted = true;
      // From a terminal it has come to the child, too; a second one does it no harm.
      child?.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, interrupt);
    const over = () => SIGNALS.forEach((signal) => process.off(signal, interrupt));
    child = spawn(program, args, { cwd, env, stdio: ["ignore", 2, 2] });
    child.on("error", (error) => {
      over();
      reject(error);
    });
    child.on("exit", async (code) => {
      // Ctrl-C ends the child, too, and that may be heard of first.
      if (code !== 0) await sleep(100);
      over();
      if (interrupted) reject(new SetupError(INTERRUPTED, 130));
      else resolve(code ?? 1);
    });
  });
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const INTERRUPTED = "set-up interrupted; the same command again goes on with it";

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
