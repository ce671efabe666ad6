/**
 * `alknet.toml`: what a node listens on, who its peers are and what they may do.
 *
 * ```toml
 * name = "den"
 * listen = ["[::]:7433"]
 *
 * [peers.laptop]
 * fingerprint = "ed25519:…"
 * addresses = ["laptop.example:7433"]
 * scopes = ["tunnel:dial:localhost:5432"]
 *
 * [limits]
 * exempt = ["10.0.0.0/8"]
 *
 * [log]
 * level = "info"
 * ```
 *
 * @module
 */

import { readFileSync, statSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import { type HostPort, parseHostPort } from "./host.ts";
import { parseBlock } from "./ip-address.ts";
import { LOG_LEVELS, type LogLevel } from "./log.ts";
import { DEFAULT_PORT, isPeerName, type PeerEntry, PeerError } from "./peers.ts";
import { staticIdentities } from "./static-identities.ts";
import { type Position, type TomlPath, tomlPositions } from "./toml-positions.ts";

/** A configuration that has been checked in full; frozen. */
export interface Config {
  /** Where it was read from. */
  readonly path: string;
  /** What this node calls itself, in its tickets. */
  readonly name: string | undefined;
  /** UDP and TCP alike; at least one. */
  readonly listen: readonly HostPort[];
  readonly peers: readonly PeerEntry[];
  readonly limits: {
    /** Address blocks that the limits per source do not hold for. */
    readonly exempt: readonly string[];
  };
  readonly log: { readonly level: LogLevel };
}

/** The configuration cannot be used. The one in use stays. */
export class ConfigInvalid extends Error {
  override readonly name = "ConfigInvalid";
  readonly code = "CONFIG_INVALID";
  readonly path: string;
  /** Both count from 1. */
  readonly line: number;
  readonly column: number;

  constructor(path: string, { line, column }: Position, text: string, options?: ErrorOptions) {
    super(`${path}:${line}:${column}: ${text}`, options);
    this.path = path;
    this.line = line;
    this.column = column;
  }
}

/** Largest file that is read, in bytes: some 50,000 peers. */
const MAX_FILE = 16 * 2 ** 20;

/**
 * Read the configuration at `path`; where there is none, the defaults.
 *
 * @throws {ConfigInvalid} if it cannot be used, or the file cannot be read.
 */
export function loadConfig(path: string): Config {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE) throw new RangeError(`${size} bytes; expected at most ${MAX_FILE}`);
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return parseConfig("", path);
    const message = `cannot read the configuration: ${(error as Error).message}`;
    throw new ConfigInvalid(path, { line: 1, column: 1 }, message, { cause: error });
  }
  return parseConfig(text, path);
}

/**
 * Parse a configuration. `path` is for messages only.
 *
 * @throws {ConfigInvalid} with line and column, at the first thing that is wrong: not TOML, an unknown
 *   key (with the one that was probably meant), a value that does not parse, peers that clash.
 */
export function parseConfig(text: string, path: string): Config {
  let root: Table;
  try {
    root = parse(text) as Table;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The first line; the rest quotes the document.
    const message = error.message.split("\n")[0]!.replace("Invalid TOML document: ", "");
    throw new ConfigInvalid(path, error, `not TOML: ${message}`);
  }
  try {
    return readRoot(root, path);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const position = tomlPositions(text)(error.at);
    throw new ConfigInvalid(path, position, error.message, { cause: error.cause });
  }
}

type Table = Readonly<Record<string, unknown>>;

/** Something is wrong at `at`; {@linkcode parseConfig} finds the line. */
class Fault extends Error {
  readonly at: TomlPath;

  constructor(at: TomlPath, text: string, options?: ErrorOptions) {
    super(text, options);
    this.at = at;
  }
}

function readRoot(root: Table, path: string): Config {
  known(root, [], ["name", "listen", "peers", "limits", "log"]);
  const name = optional(root, [], "name", readText);
  if (name !== undefined && !isPeerName(name)) {
    const expected = 'expected 1 to 64 letters, digits, ".", "_", "-", a letter or digit first';
    throw new Fault(["name"], `cannot use name ${JSON.stringify(name)}: ${expected}`);
  }
  const limits = optional(root, [], "limits", readTable) ?? {};
  known(limits, ["limits"], ["exempt"]);
  const log = optional(root, [], "log", readTable) ?? {};
  known(log, ["log"], ["level"]);
  return Object.freeze({
    path,
    name,
    listen: Object.freeze(readListen(root)),
    peers: readPeers(root),
    limits: Object.freeze({ exempt: Object.freeze(readExempt(limits)) }),
    log: Object.freeze({ level: optional(log, ["log"], "level", readLevel) ?? "info" }),
  });
}

function readListen(root: Table): HostPort[] {
  if (!Object.hasOwn(root, "listen")) return [{ host: "::", port: DEFAULT_PORT }];
  const list = readTexts(root["listen"], ["listen"], (text) => parseHostPort(text, DEFAULT_PORT));
  if (list.length === 0) {
    throw new Fault(["listen"], 'expected at least one address to listen on, "[::]:7433"');
  }
  return list;
}

function readExempt(limits: Table): string[] {
  if (!Object.hasOwn(limits, "exempt")) return [];
  return readTexts(limits["exempt"], ["limits", "exempt"], (text) => {
    parseBlock(text);
    return text;
  });
}

function readPeers(root: Table): readonly PeerEntry[] {
  const tables = optional(root, [], "peers", readTable) ?? {};
  const peers = Object.entries(tables).map(([peerId, value]) =>
    readPeer(peerId, readTable(value, ["peers", peerId])),
  );
  try {
    // What makes identities of them knows best whether they hold together.
    return staticIdentities(peers).peers;
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    const [field, index] = error.field;
    // `fingerprint = "…"` is the short form of a list with one entry.
    const short = field === "fingerprints" && hasShortForm(tables, error.peerId);
    const key = short ? "fingerprint" : field;
    const at = ["peers", error.peerId, ...(field === "peerId" ? [] : [key])];
    throw new Fault(index === undefined ? at : [...at, index], error.message, { cause: error });
  }
}

function hasShortForm(tables: Table, peerId: string): boolean {
  return Object.hasOwn(tables[peerId] as Table, "fingerprint");
}

function readPeer(peerId: string, table: Table): PeerEntry {
  const at: TomlPath = ["peers", peerId];
  known(table, at, ["fingerprint", "fingerprints", "addresses", "scopes", "enabled"]);
  const list = (key: string): string[] =>
    Object.hasOwn(table, key) ? readTexts(table[key], [...at, key], (text) => text) : [];
  const one = optional(table, at, "fingerprint", readText);
  if (one !== undefined && Object.hasOwn(table, "fingerprints")) {
    throw new Fault([...at, "fingerprints"], 'expected "fingerprint" or "fingerprints", not both');
  }
  return {
    peerId,
    fingerprints: one === undefined ? list("fingerprints") : [one],
    addresses: list("addresses"),
    scopes: list("scopes"),
    enabled: optional(table, at, "enabled", readFlag) ?? true,
  };
}

function optional<T>(
  table: Table,
  at: TomlPath,
  key: string,
  read: (value: unknown, at: TomlPath) => T,
): T | undefined {
  return Object.hasOwn(table, key) ? read(table[key], [...at, key]) : undefined;
}

function readTable(value: unknown, at: TomlPath): Table {
  // Dates are objects too; the tables that the parser makes have no prototype.
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null) {
    return value as Table;
  }
  throw new Fault(at, `expected a table, found ${kindOf(value)}`);
}

function readText(value: unknown, at: TomlPath): string {
  if (typeof value === "string") return value;
  throw new Fault(at, `expected text in quotes, found ${kindOf(value)}`);
}

function readFlag(value: unknown, at: TomlPath): boolean {
  if (typeof value === "boolean") return value;
  throw new Fault(at, `expected true or false, found ${kindOf(value)}`);
}

function readLevel(value: unknown, at: TomlPath): LogLevel {
  const text = readText(value, at);
  const level = LOG_LEVELS.find((each) => each === text);
  if (level !== undefined) return level;
  const expected = LOG_LEVELS.map((each) => `"${each}"`).join(", ");
  throw new Fault(
    at,
    `unknown level ${quoted(text)}: expected one of ${expected}${meant(text, LOG_LEVELS)}`,
  );
}

/** A list of texts, or one text alone; each is parsed. */
function readTexts<T>(value: unknown, at: TomlPath, parseText: (text: string) => T): T[] {
  const values = Array.isArray(value) ? (value as unknown[]) : [value];
  return values.map((each, index) => {
    const place = Array.isArray(value) ? [...at, index] : at;
    const text = readText(each, place);
    try {
      return parseText(text);
    } catch (error) {
      throw new Fault(place, (error as Error).message, { cause: error });
    }
  });
}

function known(table: Table, at: TomlPath, keys: readonly string[]): void {
  for (const key of Object.keys(table)) {
    if (keys.includes(key)) continue;
    const where = at.length === 0 ? "" : ` in [${at.join(".")}]`;
    const expected = keys.map((each) => `"${each}"`).join(", ");
    throw new Fault(
      [...at, key],
      `unknown key ${quoted(key)}${where}: expected one of ${expected}${meant(key, keys)}`,
    );
  }
}

/** `; did you mean "…"?`, if one of `words` is near. */
function meant(word: string, words: readonly string[]): string {
  const near = words
    .map((each) => ({ each, distance: editDistance(word.toLowerCase().slice(0, 40), each) }))
    .filter(({ each, distance }) => distance <= Math.max(1, Math.floor(each.length / 3)))
    .toSorted((a, b) => a.distance - b.distance)[0];
  return near === undefined ? "" : `; did you mean "${near.each}"?`;
}

/** Levenshtein's distance, with neighbours swapped counted once. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(
        rows[i - 1]![j]! + 1,
        row[j - 1]! + 1,
        rows[i - 1]![j - 1]! + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return "text";
  return typeof value === "object"
    ? "a table or a date"
    : `${typeof value} ${JSON.stringify(value)}`;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
