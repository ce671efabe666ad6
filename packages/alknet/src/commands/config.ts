/**
 * `alknet config check | show | path | schema | reload`.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Config } from "@alknet/core/config";
import { loadConfig, readConfigText } from "@alknet/core/config-file";
import type { Counts } from "@alknet/core/config-changes";
import { configEntries, type ConfigEntry } from "@alknet/core/config-entries";
import { configTemplate } from "@alknet/core/config-page";
import { formatTomlPath } from "@alknet/core/config-problem";
import { configJsonSchema } from "@alknet/core/config-json-schema";
import { checkStore, shadowedEntries } from "../checks/store.ts";
import type { Finding } from "../checks/finding.ts";
import { CommandError } from "../command-error.ts";
import { configFault } from "../config-reload.ts";
import type { Context } from "../context.ts";
import { askNode } from "../control.ts";
import { printable, printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

/** Say whether the file can be used; exit code 1 if not. */
export async function checkConfigFile(
  context: Context,
  file: string | undefined,
  { json }: Json,
): Promise<void> {
  const { home, terminal } = context;
  const path = file === undefined ? home.config : resolve(file);
  const exists = existsSync(path);
  if (file !== undefined && !exists) {
    throw new CommandError(`cannot check ${path}: there is no such file`, {
      code: "FILE_NOT_FOUND",
      hint: "this node's own: alknet config check",
    });
  }
  const config = await loadConfig(path).catch((error: unknown) => {
    if (json) printJson(terminal, { path, valid: false, ...configFault(error as Error) });
    throw error;
  });
  const counts = {
    peers: config.peers.length,
    apiKeys: config.apiKeys.length,
    roles: config.roles.size,
  };
  const shadowed = path === home.config ? await shadowedBy(context, config) : [];
  const notes = shadowed.map(({ text }) => text);
  if (json) return printJson(terminal, { path, exists, valid: true, ...counts, notes });
  if (!exists) {
    terminal.data.write(`there is no ${path}: the defaults hold\n`);
    return say(terminal, "a file to begin with: alknet config show --defaults");
  }
  const parts = [
    plural(counts.peers, "peer"),
    plural(counts.apiKeys, "API key"),
    plural(counts.roles, "role"),
  ];
  terminal.data.write(`${path}: ok, ${parts.join(", ")}\n`);
  for (const { text, fix } of shadowed) say(terminal, `note: ${text}\nhint: ${fix}`);
}

/** What of the store this file takes the place of; nothing, where there is no store that can be read. */
async function shadowedBy(context: Context, config: Config): Promise<readonly Finding[]> {
  const { store } = await checkStore(context, config);
  await using _closed = store;
  return store === undefined ? [] : shadowedEntries(config, store);
}

/** Print what holds; each value says whether it is from the file or a default. */
export async function showConfig(
  { home, terminal }: Context,
  { json, defaults }: Json & { readonly defaults: boolean },
): Promise<void> {
  const path = home.config;
  const text = defaults ? undefined : readConfigText(path);
  if (defaults && !json) {
    terminal.data.write(configTemplate());
    return;
  }
  const entries = configEntries(text ?? "", path);
  if (json) {
    const values = entries.map(({ path: at, value, from }) => ({
      key: formatTomlPath(at),
      value,
      from,
    }));
    return printJson(terminal, { path, exists: text !== undefined, values });
  }
  terminal.data.write(
    [`# ${path}${text === undefined ? ": there is no such file" : ""}`, ...tables(entries)]
      .map((line) => `${line}\n`)
      .join(""),
  );
}

/** Entries as TOML, those of one table together. */
function tables(entries: readonly ConfigEntry[]): string[] {
  const byTable = Map.groupBy(entries, ({ path }) => formatTomlPath(path.slice(0, -1)));
  // Before the first table there is no other place for what belongs to none.
  const names = [...byTable.keys()].toSorted((a, b) => Number(b === "") - Number(a === ""));
  return names.flatMap((name) => {
    const list = /^(.*)\[[0-9]+\]$/.exec(name)?.[1];
    const head = name === "" ? [] : ["", list === undefined ? `[${name}]` : `[[${list}]]`];
    const lines = byTable.get(name)!.map(({ path, value, from }) => {
      const line = `${formatTomlPath(path.slice(-1))} = ${JSON.stringify(value)}`;
      return `${line}${from === "default" ? "  # default" : ""}`;
    });
    return [...head, ...lines.map(printable)];
  });
}

export function configPath({ home, terminal }: Context, { json }: Json): void {
  const path = home.config;
  if (json) printJson(terminal, { path, exists: existsSync(path) });
  else terminal.data.write(`${path}\n`);
}

export function configSchema({ terminal }: Context, { json }: Json): void {
  const schema = configJsonSchema();
  // JSON it is in any case; without the flag one that people can read.
  if (json) printJson(terminal, schema);
  else terminal.data.write(`${JSON.stringify(schema, null, 2)}\n`);
}

/** Have the running node read the file. What it refuses is told as `check` tells it. */
export async function reloadConfig({ home, terminal }: Context, { json }: Json): Promise<void> {
  const reload = await askNode(home, (node) => node.config.reload()).catch(
    async (error: unknown) => {
      if ((error as { code?: unknown }).code === "CONFIG_INVALID") await loadConfig(home.config);
      throw error;
    },
  );
  if (json) return printJson(terminal, reload);
  const { changes, cut, restart } = reload;
  const parts = [
    ...counted(changes.peers, "peer"),
    ...counted(changes.apiKeys, "API key"),
    ...counted(changes.roles, "role"),
    ...changes.settings.map((key) => `${key} changed`),
  ];
  terminal.data.write(`${parts.length === 0 ? "nothing has changed" : parts.join(", ")}\n`);
  if (cut.connections + cut.grants > 0) {
    const ended = `${plural(cut.connections, "connection")}, ${plural(cut.grants, "right")} in use`;
    terminal.data.write(`ended: ${ended}\n`);
  }
  if (restart.length > 0) {
    const verb = restart.length === 1 ? "needs" : "need";
    say(terminal, `${restart.join(", ")} ${verb} a restart: alknet up`);
  }
}

function counted(counts: Counts, what: string): string[] {
  return (["added", "changed", "removed"] as const)
    .filter((kind) => counts[kind] > 0)
    .map((kind) => `${plural(counts[kind], what)} ${kind}`);
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
