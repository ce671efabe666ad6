/**
 * The store of this folder: who is known beside the configuration. The only place that names a database.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { Config } from "@alknet/core/config";
import { loadConfig } from "@alknet/core/config-file";
import type { IdentityStore } from "@alknet/core/identity-store";
import type { Logger } from "@alknet/core/log";
import { makeFolders } from "@alknet/core/make-folders";
import type { Context } from "./context.ts";

export interface OpenedStore {
  readonly store: IdentityStore;
  readonly config: Config;
}

/** Where the database is, or would be. */
export function databasePath({ home }: Pick<Context, "home">, config: Config): string {
  return config.store.path ?? home.database;
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
  if (!existsSync(path)) return undefined;
  const { openSqliteStore } = await import("@alknet/store-sqlite/sqlite-store");
  return await openSqliteStore({ path, roles: config.roles, logger, readOnly: true });
}

/** Run `work` with the store, and close it whatever happens. */
export async function withStore(
  context: Context,
  work: (opened: OpenedStore) => Promise<void>,
): Promise<void> {
  const config = await loadConfig(context.home.config);
  await using store = await openStore(context, config);
  await work({ store, config });
}
