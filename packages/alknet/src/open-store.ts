/**
 * The store of this folder: who is known beside the configuration. The only place that names a database.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Config } from "@alknet/core/config";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { Logger } from "@alknet/core/log";
import { makeFolders } from "@alknet/core/make-folders";
import { CommandError } from "./command-error.ts";
import { configInUse } from "./config-in-use.ts";
import type { Context } from "./context.ts";
import { askNode } from "./control.ts";
import { say } from "./terminal.ts";

export interface OpenedStore {
  readonly store: IdentityStore;
  readonly config: Config;
}

/** Where the file of the database is, or would be; `undefined`: it is on a server. */
export function databasePath(
  { home }: Pick<Context, "home">,
  { store }: Config,
): string | undefined {
  return store.url === undefined ? (store.path ?? home.database) : undefined;
}

/**
 * Open the store, making it if need be. `await using` closes it.
 *
 * @throws {StoreError}
 */
export async function openStore(
  context: Pick<Context, "home">,
  config: Config,
  logger?: Logger,
): Promise<IdentityStore> {
  const path = databasePath(context, config);
  if (path === undefined) return await openOnServer(config, logger, { readOnly: false });
  if (!existsSync(path)) await refuseBesideNode(context, path);
  makeFolders(dirname(path));
  const { openSqliteStore } = await import("@alknet/store-sqlite/sqlite-store");
  return await openSqliteStore({ path, roles: config.roles, logger });
}

/** A file is made while no node runs: one that does had another, and would not see it. */
async function refuseBesideNode({ home }: Pick<Context, "home">, path: string): Promise<void> {
  try {
    await askNode(home, (node) => node.status());
  } catch (error) {
    if (error instanceof CommandError && error.code === "NOT_ANSWERING") throw error;
    return;
  }
  throw new CommandError(`a node of this folder runs, and its database is gone: ${path}`, {
    code: "STORE_UNAVAILABLE",
    hint: "put the file back, or if this is meant: stop the node, and alknet up again",
  });
}

/**
 * Open the store to look things up in it, and to follow changes; `undefined`: there is none yet.
 *
 * @throws {StoreError}
 */
export async function openStoreToRead(
  context: Pick<Context, "home">,
  config: Config,
  logger?: Logger,
): Promise<IdentityStore | undefined> {
  const path = databasePath(context, config);
  if (path === undefined) return await openOnServer(config, logger, { readOnly: true });
  if (!existsSync(path)) return undefined;
  const { openSqliteStore } = await import("@alknet/store-sqlite/sqlite-store");
  return await openSqliteStore({ path, roles: config.roles, logger, readOnly: true });
}

async function openOnServer(
  { store: { url = "", passwordFile }, roles, path }: Config,
  logger: Logger | undefined,
  { readOnly }: { readonly readOnly: boolean },
): Promise<IdentityStore> {
  const { openPostgresStore } = await import("@alknet/store-postgres/postgres-store");
  const password =
    passwordFile === undefined
      ? undefined
      : async (): Promise<string> => (await readFile(passwordFile, "utf8")).replace(/\r?\n$/, "");
  try {
    return await openPostgresStore({ url, password, roles, logger, readOnly });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CommandError(error.message, {
      code: "CONFIG_INVALID",
      cause: error,
      hint: `correct [store] url in ${path}`,
    });
  }
}

/**
 * What a command does with the store: `read` opens the file for reading; `change` changes what is in it, and `create`
 * adds to it, and makes it if it is not there.
 */
export type StoreMode = "read" | "change" | "create";

/**
 * Run `work` with the store, and close it whatever happens. To `read` or to `change`, a file that is not there is a
 * store with nothing in it, and is not made.
 *
 * @throws {StoreError}
 * @throws {CommandError} `STORE_UNAVAILABLE` if a node of this folder runs that has lost its store: what is added to
 * another in its place would count for nothing.
 */
export async function withStore(
  context: Context,
  mode: StoreMode,
  work: (opened: OpenedStore) => Promise<void>,
): Promise<void> {
  const config = await configInUse(context);
  await using store = await openAs(context, mode, config);
  await work({ store, config });
}

async function openAs(context: Context, mode: StoreMode, config: Config): Promise<IdentityStore> {
  const path = databasePath(context, config);
  if (path === undefined)
    return await openOnServer(config, undefined, { readOnly: mode === "read" });
  const missing = !existsSync(path);
  const lost = mode === "change" && !missing ? undefined : await lostStore(context);
  if (lost !== undefined) {
    if (mode !== "read") {
      throw new CommandError(`the running node has lost its store: ${lost}`, {
        code: "STORE_UNAVAILABLE",
        hint: "look at it: alknet doctor",
      });
    }
    noteLost(context, lost);
  }
  if (mode === "create") return await openStore(context, config);
  const { roles } = config;
  if (missing) {
    const { MemoryDatabase } = await import("@alknet/core/memory-store");
    return await new MemoryDatabase().open({ roles });
  }
  const { openSqliteStore } = await import("@alknet/store-sqlite/sqlite-store");
  return await openSqliteStore({ path, roles, readOnly: mode === "read", create: false });
}

/** Tell who looks that the running node has lost its store. */
export function noteLost({ terminal }: Pick<Context, "terminal">, reason: string): void {
  const what = "the running node cannot read its store, and goes on with what it read last";
  say(terminal, `note: ${what}: ${reason}`);
}

/** Why the running node cannot read its store; `undefined`: it can, or there is none that answers. */
async function lostStore({ home }: Context): Promise<string | undefined> {
  try {
    const { store } = await askNode(home, (node) => node.status());
    return store.state.kind === "stale" ? store.state.reason : undefined;
  } catch {
    // What is wrong with a node has commands of its own.
    return undefined;
  }
}
