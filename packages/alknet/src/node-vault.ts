/**
 * The vault while a node runs: held by an agent of the node's own, or by the one that runs already.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import { loadOrCreateIdentity, type NodeIdentity } from "@alknet/core/identity-file";
import type { Logger } from "@alknet/core/log";
import { CommandError } from "./command-error.ts";
import type { Context } from "./context.ts";
import { hasVault } from "./has-vault.ts";
import type { HostKey } from "./host-key.ts";
import { identitySource } from "./node-identity.ts";
import type { OperatedVault } from "./operations/node-sources.ts";
import { unlockByMachine, unlockVault } from "./open-vault.ts";
import type { PassphraseFlags } from "./read-secret.ts";
import { runningVault } from "./running-vault.ts";
import { vaultKeys } from "./vault-keys.ts";
import { createVaultAgent } from "./vault-agent.ts";
import type { VaultAgentOperations } from "./vault-agent-operations.ts";

/** What a node has of the vault; disposing ends the agent, if it is the node's own. */
export interface NodeVault extends OperatedVault, AsyncDisposable {
  readonly identity: NodeIdentity;
  /** The vault's, if the identity is; else it is in a file. */
  readonly hostKey: HostKey | undefined;
  /** Follow the configuration. */
  reconfigure(config: Config): void;
}

/**
 * Find the node's identity, and hold the vault if there is one: unlocked, if the identity is in it.
 *
 * @throws {IdentityError}
 * @throws as `openVault`: `VAULT_LOCKED` (exit code 5) if nothing opens it.
 */
export async function holdNodeVault(
  context: Context,
  config: Config,
  logger: Logger,
  flags: PassphraseFlags,
): Promise<NodeVault> {
  const { home } = context;
  const source = identitySource(home, config);
  if (!hasVault(home)) {
    return {
      identity: loadOrCreateIdentity(source.path),
      hostKey: undefined,
      status: async () => undefined,
      reconfigure() {},
      async [Symbol.asyncDispose]() {},
    };
  }
  await using opening = new AsyncDisposableStack();
  const own = await ownAgent(context, config, logger);
  if (own !== undefined) opening.use(own);
  const vault: VaultAgentOperations = own ?? (await agentThatRuns(context));
  const inVault = source.kind === "vault";
  if (inVault || flags.passphraseStdin) await unlockVault(context, config, vault, flags);
  else {
    await unlockByMachine(context, config, vault).catch((error: Error) =>
      logger.warn({ err: error }, "the vault stays locked"),
    );
  }
  const keys = inVault
    ? await vaultKeys(vault)
    : { identity: loadOrCreateIdentity(source.path), hostKey: undefined };
  const ends = opening.move();
  let { lockAfter } = config.vault;
  return {
    ...keys,
    status: () => vault.status().catch(() => undefined),
    reconfigure(next) {
      // What somebody else has started has a time of its own.
      if (own === undefined || next.vault.lockAfter === lockAfter) return;
      ({ lockAfter } = next.vault);
      void own.setLockAfter(lockAfter);
    },
    [Symbol.asyncDispose]: () => ends[Symbol.asyncDispose](),
  };
}

/** `undefined` if another one runs. */
async function ownAgent({ home }: Context, { vault: { lockAfter } }: Config, logger: Logger) {
  try {
    return await createVaultAgent({ home, lockAfter, logger });
  } catch (error) {
    if ((error as { code?: unknown }).code === "ALREADY_RUNNING") return undefined;
    throw error;
  }
}

async function agentThatRuns(context: Context): Promise<VaultAgentOperations> {
  const vault = await runningVault(context);
  if (vault !== undefined) return vault;
  throw new CommandError("the vault's agent ended as the node started", {
    code: "VAULT_AGENT_NOT_RUNNING",
    hint: "once more: alknet up",
  });
}
