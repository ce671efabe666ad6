/**
 * `npm run native`: format, lint and tests of the QUIC engine, in the target folder of its build.
 *
 * @module
 */

import { existsSync } from "node:fs";
import process from "node:process";
// @ts-expect-error: plain JavaScript, because the set-up runs it before there is a TypeScript
import { cargo } from "./setup/native.mjs";

const steps = [
  ["fmt", "--check"],
  ["clippy", "--release", "--all-targets", "--", "-D", "warnings"],
  ["test", "--release"],
];

if (!existsSync("native/quic/Cargo.toml")) {
  console.log("no crate yet");
} else {
  for (const [command, ...args] of steps) {
    if ((await cargo(command, ...args)) !== 0) process.exitCode = 1;
  }
}
