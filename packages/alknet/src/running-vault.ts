/**
 * Whether an agent of the vault runs in this folder.
 *
 * @module
 */

import type { Context } from "./context.ts";
import { vaultClient } from "./vault-agent-client.ts";
import type { VaultAgentOperations } from "./vault-agent-operations.ts";

/** The vault of the agent that runs in this folder, locked or not; `undefined`: there is none. */
export async function runningVault({
  home,
}: Pick<Context, "home">): Promise<VaultAgentOperations | undefined> {
  try {
    const client = vaultClient(home);
    await client.status();
    return client;
  } catch (error) {
    if ((error as { code?: unknown }).code === "VAULT_AGENT_NOT_RUNNING") return undefined;
    throw error;
  }
}
