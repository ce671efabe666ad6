/**
 * This node's fingerprint for messages: when there is one, and nobody has to be asked.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import type { Home } from "@alknet/core/home";
import { knownFingerprint } from "./node-identity.ts";

/** `undefined` if there is no identity yet, it is locked away, or cannot be used: then that is not the news. */
export async function ownFingerprint(home: Home): Promise<string | undefined> {
  try {
    return await knownFingerprint(home, await loadConfig(home.config));
  } catch {
    return undefined;
  }
}
