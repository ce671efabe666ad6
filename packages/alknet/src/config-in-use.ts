/**
 * The configuration that commands about identities go by.
 *
 * A mistake in the file must not keep anybody from taking a right away: while the node goes on with what it has
 * read before, so do these commands.
 *
 * @module
 */

import { isAbsolute } from "node:path";
import { type Config, defaultConfig } from "@alknet/core/config";
import { loadConfig } from "@alknet/core/config-file";
import { ConfigInvalid } from "@alknet/core/config-problem";
import type { Context } from "./context.ts";
import { askNode } from "./control.ts";
import { say } from "./terminal.ts";

/**
 * The configuration in the file; if that cannot be used, what is needed of the one that the running node has.
 *
 * @throws {ConfigInvalid} if it cannot be used, and no node runs whose store could be found.
 */
export async function configInUse(context: Context): Promise<Config> {
  const { home, terminal } = context;
  try {
    return await loadConfig(home.config);
  } catch (error) {
    if (!(error instanceof ConfigInvalid)) throw error;
    const node = await askNode(home, (it) => it.status()).catch(() => undefined);
    // One on a server takes more to be reached than its name.
    if (node === undefined || !isAbsolute(node.store.path)) throw error;
    say(
      terminal,
      `note: ${home.config} cannot be used, see: alknet config check; the node's store can`,
    );
    const config = defaultConfig(home.config);
    return { ...config, store: { ...config.store, path: node.store.path } };
  }
}
