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
  makeFolders(dirname(path));
  const { openSqliteStore } = await import("@alknet/store-sqlite/sqlite-store");
  return await openSqliteStore({ path, roles: config.roles, logger });
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

/** Run `work` with the store, and close it whatever happens. */
export async function withStore(
  context: Context,
  work: (opened: OpenedStore) => Promise<void>,
): Promise<void> {
  const config = await configInUse(context);
  await using store = await openStore(context, config);
  await work({ store, config });
}
