/**
 * The QUIC engine: build `native/quic` with cargo, and put the addon where
 * `packages/quic/src/load-native.ts` looks for it.
 *
 * @module
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { find, run } from "./programs.mjs";
import { SetupError, step } from "./say.mjs";
import { filesUnder, hashFiles, readStamp, writeStamp } from "./stamp.mjs";

const CRATE = "native/quic";
const TARGET = `${CRATE}/target`;

/** `linux-x64`, `linux-x64-musl`, `darwin-arm64`: as `packages/quic/src/load-native.ts` names it. */
export function platformName() {
  const musl =
    process.platform === "linux" &&
    process.report.getReport().header.glibcVersionRuntime === undefined;
  return `${process.platform}-${process.arch}${musl ? "-musl" : ""}`;
}

const ADDON = `${CRATE}/build/quic.${platformName()}.node`;
const STAMP = `${ADDON}.stamp.json`;

/** Is there something to build? Not where `ALKNET_QUIC_ADDON` or a prebuilt package takes its place. */
export function nativeIsStale() {
  if (!existsSync(`${CRATE}/Cargo.toml`) || process.env.ALKNET_QUIC_ADDON) return false;
  if (existsSync(ADDON) && readStamp(STAMP)?.inputs === inputs()) return false;
  // Once built here, always built here: the loader looks at what was built first.
  return existsSync(ADDON) || !hasPrebuilt();
}

/** @throws {SetupError} naming the first tool that a build needs and this machine lacks. */
export function requireNativeTools() {
  if (find("cargo") === undefined)
    throw new SetupError("cargo is missing: install Rust from https://rustup.rs");
  if (find("cc") === undefined && find("gcc") === undefined) {
    throw new SetupError(
      "a C compiler is missing: install gcc (Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install)",
    );
  }
}

/** Build the addon. A running node keeps the one it has loaded: the new one takes its name by rename. */
export async function buildNative() {
  requireNativeTools();
  const before = inputs();
  await step("cargo build --release (native/quic; the first time takes minutes)", async () => {
    const code = await cargo("build", "--release");
    if (code !== 0)
      throw new SetupError(
        `cargo failed with exit code ${code}: the reason is above; then start again`,
      );
  });
  mkdirSync(`${CRATE}/build`, { recursive: true });
  const draft = `${ADDON}.${process.pid}`;
  copyFileSync(join(TARGET, "release", libraryName()), draft);
  renameSync(draft, ADDON);
  writeStamp(STAMP, { inputs: before });
}

/**
 * Run cargo on the engine's crate; in CI the lock file must fit.
 *
 * Every call goes through here, so that build, lint and tests share one target folder and its flags.
 */
export function cargo(command, ...args) {
  return cargoIn(CRATE, command, ...args);
}

/** The same on another crate, in the engine's target folder: what both depend on is compiled once. */
export function cargoIn(crate, command, ...args) {
  const env = { ...process.env };
  // Rust links with `cc`; a machine may have only gcc.
  if (find("cc") === undefined) Object.assign(env, { CC: "gcc", RUSTFLAGS: "-C linker=gcc" });
  const locked = process.env.CI && command !== "fmt" ? ["--locked"] : [];
  const where = ["--manifest-path", `${crate}/Cargo.toml`];
  if (command !== "fmt") where.push("--target-dir", TARGET);
  return run(find("cargo"), [command, ...where, ...locked, ...args], { env });
}

function inputs() {
  const files = filesUnder(CRATE, ["target", "build", "npm", "node_modules", "README.md"]);
  return hashFiles(files, platformName());
}

/** Will npm bring a prebuilt engine for this platform? */
export function prebuiltIsDue() {
  const { optionalDependencies } = JSON.parse(readFileSync("packages/quic/package.json", "utf8"));
  return optionalDependencies?.[`@alknet/quic-${platformName()}`] !== undefined;
}

function hasPrebuilt() {
  const quic = createRequire(join(process.cwd(), "packages/quic/package.json"));
  try {
    const { version } = JSON.parse(
      readFileSync(quic.resolve(`@alknet/quic-${platformName()}/package.json`), "utf8"),
    );
    return version === quic("./package.json").version;
  } catch {
    return false; // none for this platform, or not installed
  }
}

/** What cargo names the addon. */
export function libraryName() {
  return process.platform === "darwin" ? "libalknet_quic.dylib" : "libalknet_quic.so";
}
