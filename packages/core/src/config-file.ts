/**
 * Read the file of the configuration.
 *
 * @module
 */

import { readFileSync, statSync } from "node:fs";
import { type Config, defaultConfig } from "./config.ts";
import { ConfigInvalid } from "./config-problem.ts";

/** Largest file that is read, in bytes: some 50,000 peers. */
const MAX_FILE = 16 * 2 ** 20;

/**
 * Read the configuration at `path`; where there is none, the defaults.
 *
 * @throws {ConfigInvalid} if it cannot be used, or the file cannot be read.
 */
export async function loadConfig(path: string): Promise<Config> {
  const text = readConfigText(path);
  if (text === undefined) return defaultConfig(path);
  // The schema is imported only where there is something to hold against it.
  const { parseConfig } = await import("./config-parse.ts");
  return parseConfig(text, path);
}

/**
 * The text at `path`; `undefined`: there is no such file.
 *
 * @throws {ConfigInvalid} if it cannot be read, is too large, or no UTF-8.
 */
export function readConfigText(path: string): string | undefined {
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE) throw new RangeError(`${size} bytes; expected at most ${MAX_FILE}`);
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    const { code, message: reason } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const why = code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "expected UTF-8" : reason;
    const message = `cannot read the configuration: ${why}`;
    const problem = { line: 1, column: 1, message, key: undefined, excerpt: undefined };
    throw new ConfigInvalid(path, [problem], { cause: error });
  }
}
