/**
 * `npm run native`: format, lint and tests of the QUIC engine, in the target folder of its build; format and
 * lint of the peer that benchmarks compare it with.
 *
 * @module
 */

import process from "node:process";
// @ts-expect-error: plain JavaScript, because the set-up runs it before there is a TypeScript
import { cargoIn } from "./setup/native.mjs";

const LINT = ["clippy", "--release", "--all-targets", "--", "-D", "warnings"];

const crates = {
  "native/quic": [["fmt", "--check"], LINT, ["test", "--release"]],
  // Its tests are the benchmarks.
  "native/bench-peer": [["fmt", "--check"], LINT],
};

for (const [crate, steps] of Object.entries(crates)) {
  for (const [command, ...args] of steps) {
    if ((await cargoIn(crate, command, ...args)) !== 0) process.exitCode = 1;
  }
}
