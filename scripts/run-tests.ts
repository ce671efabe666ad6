/**
 * The tests: `npm run unit`, `npm run interop`.
 *
 *     npm run unit -- core/src/router        only files whose path contains that
 *     npm run unit -- --test-name-pattern=X  flags go to `node --test`
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import process from "node:process";

const suites = {
  unit: {
    files: ["packages/**/src/**/*.test.ts", "examples/*.test.ts", "bench/*.test.ts"],
    flags: ["--test-timeout=60000"],
  },
  // Real programs on real ports: one file at a time.
  interop: {
    files: ["interop/**/*.test.ts"],
    flags: ["--test-timeout=300000", "--test-concurrency=1"],
  },
};

const [name, ...args] = process.argv.slice(2);
if (name !== "unit" && name !== "interop")
  throw new Error(`cannot run tests ${JSON.stringify(name)}`);
const { files, flags } = suites[name];
const wanted = args.filter((arg) => !arg.startsWith("-"));
const found = globSync(files, { exclude: ["**/node_modules/**"] })
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();
if (found.length === 0) {
  console.log(`no ${name} tests${wanted.length > 0 ? ` match ${wanted.join(" ")}` : " yet"}`);
  process.exit(wanted.length > 0 ? 1 : 0);
}
const { status } = spawnSync(
  process.execPath,
  [
    "--conditions=@alknet/source",
    "--import=./scripts/leak.ts",
    "--test",
    "--test-reporter=spec",
    ...flags,
    ...args.filter((arg) => arg.startsWith("-")),
    ...found,
  ],
  { stdio: "inherit" },
);
process.exitCode = status ?? 1;
