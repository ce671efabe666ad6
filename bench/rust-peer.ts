/**
 * The pure Rust peer (`native/bench-peer`): built when it is first needed.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Spawn, startWorker, type Worker } from "./worker.ts";

const CRATE = new URL("../native/bench-peer/", import.meta.url);

let program: string | undefined;

/** Start it in one of its roles, see its `main.rs`. */
export function startRust(
  words: readonly string[],
  options: { spawn?: Spawn | undefined } = {},
): Promise<Worker> {
  return startWorker(buildRust(), words, options);
}

/** Build it unless it is built. Its path. Cargo tells its progress on stderr. */
export function buildRust(): string {
  if (program !== undefined) return program;
  // Progress only when there is some: --quiet would hide a minute of compiling; without it cargo says nothing much when all is fresh.
  const { status, error } = spawnSync(
    "cargo",
    [
      "build",
      "--release",
      "--locked",
      "--manifest-path",
      fileURLToPath(new URL("Cargo.toml", CRATE)),
    ],
    {
      stdio: ["ignore", 2, "inherit"],
      env: { ...process.env, CARGO_TARGET_DIR: fileURLToPath(new URL("target", CRATE)) },
    },
  );
  if (status !== 0) {
    throw new Error(
      `cannot build the Rust peer: ${error?.message ?? `cargo ended with ${status}`}; a Rust toolchain is needed (https://rustup.rs)`,
    );
  }
  program = fileURLToPath(new URL("target/release/bench-peer", CRATE));
  return program;
}

/** For the result: what it is made of. */
export function rustPeerName(): string {
  const lock = readFileSync(new URL("Cargo.lock", CRATE), "utf8");
  const version = /name = "quinn"\nversion = "([^"]+)"/.exec(lock)?.[1] ?? "?";
  return `quinn ${version} in pure Rust`;
}
