/**
 * Asking the vault's agent over `vault.sock`.
 *
 * @module
 */

import type { Home } from "@alknet/core/home";
import { CommandError, ExitCode } from "./command-error.ts";
import type { VaultOperations } from "./vault-agent-operations.ts";

/**
 * The vault of the agent that runs in this folder. Each call is a connection of its own: there is nothing to close.
 *
 * All reject with a {@linkcode CommandError}: `VAULT_AGENT_NOT_RUNNING` if there is no agent, `VAULT_LOCKED` (exit code
 * 5, with its hint) if it is locked.
 */
export function vaultClient(_home: Pick<Home, "run" | "vaultSocket">): VaultOperations {
  throw new CommandError("no vault agent is running in this folder", {
    code: "VAULT_AGENT_NOT_RUNNING",
    hint: "start it with: alknet vault agent --background",
    exitCode: ExitCode.VAULT_LOCKED,
  });
}
