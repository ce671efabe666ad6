/**
 * `alknet vault agent`: hold the vault for other programs, as `ssh-agent` holds keys. `alknet up` does the same.
 *
 * It prints what a shell is to evaluate, so that `ssh`, `git` and the like find it:
 * `eval "$(alknet vault agent --background)"`. That may stand in a start-up file: one that runs is not started again.
 *
 * @module
 */

import { once } from "node:events";
import { loadConfig } from "@alknet/core/config-file";
import { parseLockAfter } from "@alknet/core/lock-after";
import { endAgent, startAgent } from "../background-agent.ts";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { askNode } from "../control.ts";
import { createLogger } from "../log.ts";
import { requireVault, unlockByMachine } from "../open-vault.ts";
import { runningVault } from "../running-vault.ts";
import { shellWord } from "../shell-word.ts";
import { printJson, say } from "../terminal.ts";
import { createVaultAgent } from "../vault-agent.ts";
import type { VaultAgentOperations } from "../vault-agent-operations.ts";

/** Shells that have a way of their own to set a variable. */
export const AGENT_SHELLS = ["sh", "csh", "fish"] as const;
export type AgentShell = (typeof AGENT_SHELLS)[number];

export interface AgentOptions {
  readonly json: boolean;
  readonly background: boolean;
  readonly stop: boolean;
  readonly shell: AgentShell;
  /** As it was typed. */
  readonly lockAfter?: string | undefined;
}

export async function agentCommand(context: Context, options: AgentOptions): Promise<void> {
  if (options.stop) return await stopAgent(context, options);
  requireVault(context);
  // Before anything is started: it may be wrong.
  const { lockAfter } = options;
  if (lockAfter !== undefined) parseLockAfter(lockAfter);
  if (!options.background) return await runAgent(context, options);
  const vault = (await runningVault(context)) ?? (await startAgent(context));
  if (lockAfter !== undefined) await vault.setLockAfter(parseLockAfter(lockAfter));
  await tellAgent(context, vault, options);
}

/** In the foreground, until it is told to end. */
async function runAgent(context: Context, options: AgentOptions): Promise<void> {
  const { home, terminal, interrupted } = context;
  const config = await loadConfig(home.config);
  const logger = await createLogger({
    level: config.log.level,
    human: terminal.words.isTerminal,
    write: (text) => terminal.words.write(text),
  });
  const lockAfter =
    options.lockAfter === undefined ? config.vault.lockAfter : parseLockAfter(options.lockAfter);
  await using agent = await createVaultAgent({ home, lockAfter, logger });
  await unlockByMachine(context, config, agent).catch((error: Error) =>
    logger.warn({ err: error }, "the vault stays locked"),
  );
  await tellAgent(context, agent, options);
  if (!interrupted.aborted) await once(interrupted, "abort");
}

/** What a shell evaluates, and a person reads. */
async function tellAgent(
  { terminal }: Context,
  vault: VaultAgentOperations,
  { json, shell }: AgentOptions,
): Promise<void> {
  const { pid, unlocked, sshAgentSocket } = await vault.status();
  if (json) return printJson(terminal, { pid, unlocked, sshAgentSocket });
  terminal.data.write(SHELL_LINES[shell](shellWord(sshAgentSocket), pid));
  if (!unlocked) say(terminal, "The vault is locked: alknet vault unlock");
}

const SHELL_LINES: Readonly<Record<AgentShell, (socket: string, pid: number) => string>> = {
  sh: (socket, pid) => `SSH_AUTH_SOCK=${socket}; export SSH_AUTH_SOCK;\necho Agent pid ${pid};\n`,
  csh: (socket, pid) => `setenv SSH_AUTH_SOCK ${socket};\necho Agent pid ${pid};\n`,
  fish: (socket, pid) => `set -gx SSH_AUTH_SOCK ${socket};\necho Agent pid ${pid};\n`,
};

/** End the agent, unless it is that of a node, which is ended in its own way. */
async function stopAgent(context: Context, { json }: AgentOptions): Promise<void> {
  const { terminal, home } = context;
  const vault = await runningVault(context);
  if (vault === undefined) {
    throw new CommandError("no vault agent is running in this folder", {
      code: "VAULT_AGENT_NOT_RUNNING",
    });
  }
  const { pid } = await vault.status();
  const node = await askNode(home, (it) => it.status()).catch(() => undefined);
  if (node?.pid === pid) {
    throw new CommandError(`the agent is that of the node that runs, pid ${pid}`, {
      code: "AGENT_OF_NODE",
      hint: "to lock it: alknet vault lock",
    });
  }
  await endAgent(vault);
  if (json) printJson(terminal, { pid });
  else say(terminal, `Locked, and ended: pid ${pid}`);
}
