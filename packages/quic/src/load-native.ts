/**
 * Finds and loads the QUIC engine, `native/quic`, built for this machine.
 *
 * In this order: the file that `ALKNET_QUIC_ADDON` names, and then nothing else; what `npm start` or
 * `npm run build:native` built in a checkout; the prebuilt package `@alknet/quic-<platform>`.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

/** No engine could be loaded: the message says what was tried and how to build one. */
export class NativeMissingError extends Error {
  override readonly name = "NativeMissingError";
  readonly code = "NATIVE_MISSING";
}

/** What {@linkcode loadNative} depends on; a test hands in its own. */
export interface NativePlaces {
  /** A file that is to be the engine, whatever else there is. */
  addon?: string | undefined;
  /** The root of the checkout, `undefined` for a package installed from npm. */
  checkout?: string | undefined;
  /** `linux-x64`, `linux-x64-musl`, `darwin-arm64`. */
  platform: string;
  /** Loads a file, or a package by name. */
  require: (id: string) => unknown;
}

/** This process: its environment, its checkout if it has one, its machine. */
export function nativePlaces(): NativePlaces {
  const installed = import.meta.url.includes("/node_modules/");
  return {
    addon: process.env["ALKNET_QUIC_ADDON"] || undefined,
    checkout: installed ? undefined : join(import.meta.dirname, "../../.."),
    platform: platformName(),
    require: createRequire(import.meta.url),
  };
}

/**
 * Load the engine from the first place that has one.
 *
 * @throws {NativeMissingError} if none has one that this machine can load.
 */
export function loadNative(
  places: NativePlaces = nativePlaces(),
): Readonly<Record<string, unknown>> {
  const { addon, checkout, platform } = places;
  const built = checkout && join(checkout, "native/quic/build", `quic.${platform}.node`);
  const candidates = addon ? [addon] : [built, `@alknet/quic-${platform}`];
  const tried: string[] = [];
  for (const candidate of candidates) {
    if (candidate === undefined) continue;
    if (candidate.endsWith(".node") && !existsSync(candidate)) {
      tried.push(`${candidate} (no such file)`);
      continue;
    }
    try {
      return places.require(candidate) as Readonly<Record<string, unknown>>;
    } catch (error) {
      tried.push(`${candidate} (${reason(error)})`);
    }
  }
  throw new NativeMissingError(
    `cannot load the QUIC engine for ${platform}: tried ${tried.join(", then ")}; ` +
      `in a checkout of Alknet, build it: npm run build:native`,
  );
}

/** This machine, as the files and packages of the engine are named. */
function platformName(): string {
  return `${process.platform}-${process.arch}${isMusl() ? "-musl" : ""}`;
}

function isMusl(): boolean {
  if (process.platform !== "linux") return false;
  const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return report.header.glibcVersionRuntime === undefined;
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "MODULE_NOT_FOUND" ? "not installed" : (message.split("\n")[0] ?? "");
}
