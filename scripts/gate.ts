/**
 * The gate: all that must hold before a commit. `npm test`, or `npm test -- lint types` for parts of it.
 *
 * Each part is an npm script and can be run alone. All of them run, whatever fails; the tests come
 * last, so that the end of the output is theirs.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";

const PARTS = ["format", "lint", "types", "layers", "locks", "native", "docs", "unit", "interop"];

const wanted = process.argv.slice(2);
const unknown = wanted.find((part) => !PARTS.includes(part));
if (unknown !== undefined) {
  console.error(`gate: no part ${JSON.stringify(unknown)}: expected some of ${PARTS.join(", ")}`);
  process.exit(2);
}

// As npm sets it from .npmrc; `node --run` does not read that.
const env = { ...process.env, NODE_OPTIONS: "--conditions=@alknet/source" };
const results = PARTS.filter((part) => wanted.length === 0 || wanted.includes(part)).map((part) => {
  console.log(`\n--- ${part}`);
  const began = performance.now();
  const { status } = spawnSync(process.execPath, ["--run", part], {
    stdio: ["ignore", "inherit", "inherit"],
    env,
  });
  return { part, ok: status === 0, seconds: (performance.now() - began) / 1000 };
});

const line = results.map(
  ({ part, ok, seconds }) => `${part} ${ok ? "ok" : "FAILED"} ${seconds.toFixed(1)} s`,
);
console.log(`\ngate: ${line.join(", ")}`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
