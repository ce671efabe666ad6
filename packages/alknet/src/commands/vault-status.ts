/**
 * `alknet vault status`: whether there is a vault, what opens it, who holds it open.
 *
 * @module
 */

import { inspectVaultFile } from "@alknet/vault/vault-file";
import type { NamedKey } from "@alknet/vault/vault-file-body";
import type { Context } from "../context.ts";
import { hasVault } from "../has-vault.ts";
import { formatSeconds } from "../milliseconds.ts";
import { runningVault } from "../running-vault.ts";
import { printFields, printJson, say } from "../terminal.ts";
import type { VaultAgentStatus } from "../vault-agent-operations.ts";

export async function vaultStatus(
  context: Context,
  { json }: { readonly json: boolean },
): Promise<void> {
  const { home, terminal } = context;
  if (!hasVault(home)) {
    if (json) return printJson(terminal, { path: home.vault, exists: false, unlocked: false });
    say(terminal, `There is no vault in this folder. Make one: alknet vault create`);
    return;
  }
  const { cost, unlockKeys } = inspectVaultFile(home.vault);
  const vault = await runningVault(context);
  const agent = await vault?.status();
  const keys = agent?.unlocked === true ? await vault?.names() : undefined;
  if (json) {
    const unlocked = agent?.unlocked === true;
    printJson(terminal, {
      path: home.vault,
      exists: true,
      unlocked,
      agent,
      keys,
      cost,
      unlockKeys,
    });
    return;
  }
  printFields(terminal, [
    ["vault", home.vault],
    ["state", stateOf(agent)],
    ...(agent === undefined ? [] : agentLines(agent)),
    ["passphrase", `argon2id, ${cost.memory / 1_024} MiB, ${cost.passes} passes`],
    ["unlock keys", unlockKeys.length === 0 ? "none" : unlockKeys.join(", ")],
    ...(keys ?? []).map(keyLine),
  ]);
}

function stateOf(agent: VaultAgentStatus | undefined): string {
  if (agent === undefined) return "locked, and no agent runs";
  if (!agent.unlocked) return "locked";
  if (agent.locksIn === undefined) return "unlocked";
  return `unlocked, locks in ${formatSeconds(Math.round(agent.locksIn / 1_000))} without use`;
}

function agentLines({ pid, sshAgentSocket, sshAgentLocked }: VaultAgentStatus): [string, string][] {
  return [
    ["agent", `pid ${pid}`],
    ["SSH_AUTH_SOCK", `${sshAgentSocket}${sshAgentLocked ? " (locked by ssh-add -x)" : ""}`],
  ];
}

function keyLine({ kind, name, confirm }: NamedKey): [string, string] {
  return ["key", `${kind} ${name}${confirm ? ", asks before each use" : ""}`];
}
