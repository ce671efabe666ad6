/**
 * A configuration as a list of keys and values, each with where it comes from, to be shown: no secrets in it.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { configJsonSchema } from "./config-json-schema.ts";
import { parseDocument } from "./config-parse.ts";
import type { TomlPath } from "./toml-positions.ts";

export interface ConfigEntry {
  readonly path: TomlPath;
  /** Plain JSON; hashes are cut short. */
  readonly value: unknown;
  readonly from: "file" | "default";
}

/**
 * What `text` says, and the defaults for what it does not.
 *
 * @throws {ConfigInvalid}
 */
export function configEntries(text: string, path: string): readonly ConfigEntry[] {
  const { written, complete } = parseDocument(text, path);
  const entries: ConfigEntry[] = [];
  const walk = (value: unknown, at: TomlPath, original: unknown): void => {
    const isList = Array.isArray(value);
    const tables = isList && value.some((each) => isTable(each));
    if (isTable(value) || tables) {
      for (const [name, inner] of Object.entries(value as object)) {
        const key = isList ? Number(name) : name;
        const was =
          original !== undefined && Object.hasOwn(original as object, key)
            ? (original as Record<string | number, unknown>)[key]
            : undefined;
        walk(inner, [...at, key], was);
      }
      return;
    }
    if (value === undefined || (at.length === 1 && isList && value.length === 0 && isTables(at)))
      return;
    entries.push({
      path: at,
      value: shown(at, value),
      from: original === undefined ? "default" : "file",
    });
  };
  walk(complete, [], written);
  return entries;
}

function isTable(value: unknown): boolean {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)
  );
}

/** Whether tables stand there, so that none is nothing to show. */
function isTables([key]: TomlPath): boolean {
  return configJsonSchema().properties?.[String(key)]?.items?.properties !== undefined;
}

function shown(at: TomlPath, value: unknown): unknown {
  const key = at.at(-1);
  if ((key === "hash" || key === "token_hash") && typeof value === "string") {
    return `${value.slice(0, "sha256:".length + 8)}…`;
  }
  return value instanceof Date ? value.toISOString() : value;
}
