/**
 * This node's fingerprint for messages: when there is one, and nothing is made for it.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { loadConfig } from "@alknet/core/config-file";
import type { Home } from "@alknet/core/home";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";

/** `undefined` if there is no identity yet, or it cannot be used: then that is not the news. */
export async function ownFingerprint(home: Home): Promise<string | undefined> {
  try {
    const { identity = home.identity } = await loadConfig(home.config);
    return existsSync(identity) ? loadOrCreateIdentity(identity).fingerprint : undefined;
  } catch {
    return undefined;
  }
}
