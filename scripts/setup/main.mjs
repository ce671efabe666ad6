/**
 * The commands of `scripts/bootstrap.mjs`: what to set up for each, and what to run then.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { installPackages, missingPackages } from "./debian.mjs";
import { locked } from "./lock.mjs";
import { buildNative, nativeIsStale, prebuiltIsDue, requireNativeTools } from "./native.mjs";
import { installNodeModules, NODE, nodeModulesAreStale, npmCommand } from "./node-modules.mjs";
import { SetupError, say } from "./say.mjs";

const CONDITION = "--conditions=@alknet/source";

/**
 * Do what the command line says, in the repository's root.
 *
 * @returns the exit code.
 */
export async function main(args) {
  try {
    return await dispatch(args);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    return error.exitCode;
  }
}

async function dispatch([command, ...args]) {
  if (process.platform === "win32")
    throw new SetupError("Windows is not supported yet: use it inside WSL");
  switch (command) {
    case "start":
      await setUp({ dev: false });
      return node(CONDITION, "packages/alknet/src/main.ts", "up", ...args);
    case "test":
      await setUp({ dev: true, packages: true });
      return node(CONDITION, "scripts/gate.ts", ...args);
    case "setup":
    case "--setup-only":
      await setUp({ dev: args.includes("--dev") });
      return 0;
    case "native":
      if (nativeIsStale()) await locked(buildNative);
      return 0;
    default:
      throw new SetupError(
        `unknown command ${JSON.stringify(command)}: expected start, test, setup or native`,
      );
  }
}

/** `dev`: with what the gate, tests and benchmarks need from npm; `packages`: from Debian, too. */
async function setUp({ dev, packages: wanted = false }) {
  const todo = () => ({
    modules: nodeModulesAreStale(dev),
    native: nativeIsStale(),
    packages: wanted ? missingPackages() : [],
  });
  const first = todo();
  if (!first.modules && !first.native && first.packages.length === 0) return;
  // Say what is missing now, not after minutes of downloading.
  if (first.modules) npmCommand();
  if (first.native && !(first.modules && prebuiltIsDue())) requireNativeTools();
  await locked(async () => {
    const { modules, native, packages } = todo();
    if (packages.length > 0) await installPackages(packages);
    if (modules) await installNodeModules(dev);
    // Asked again: npm may have brought a prebuilt engine.
    if (native && nativeIsStale()) await buildNative();
  });
}

/** Run our Node to its end, and pass on what ends us. */
function node(...args) {
  const child = spawn(NODE, args, { stdio: "inherit" });
  // Ctrl-C reaches the child from the terminal, and a second one would mean: now.
  const signals = process.stdin.isTTY ? ["SIGTERM", "SIGHUP"] : ["SIGTERM", "SIGHUP", "SIGINT"];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  if (process.stdin.isTTY) process.on("SIGINT", () => undefined);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
  });
}
