/**
 * `alknet vault unlock` and `alknet vault lock`: have the agent open the vault, and forget it.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import { parseLockAfter } from "@alknet/core/lock-after";
import { endAgent, startAgent } from "../background-agent.ts";
import type { Context } from "../context.ts";
import { formatSeconds } from "../milliseconds.ts";
import { requireVault, unlockVault } from "../open-vault.ts";
import type { PassphraseFlags } from "../read-secret.ts";
import { runningVault } from "../running-vault.ts";
import { printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

export interface UnlockOptions extends Json, PassphraseFlags {
  /** As it was typed. */
  readonly lockAfter?: string | undefined;
}

/** Without an agent one is started in the background: there has to be something that stays unlocked. */
export async function unlockCommand(context: Context, options: UnlockOptions): Promise<void> {
  const { terminal } = context;
  requireVault(context);
  const { lockAfter } = options;
  if (lockAfter !== undefined) parseLockAfter(lockAfter);
  const config = await loadConfig(context.home.config);
  const running = await runningVault(context);
  const vault = running ?? (await startAgent(context));
  const before = (await vault.status()).unlocked;
  if (!before) {
    try {
      await unlockVault(context, config, vault, options);
    } catch (error) {
      // It was started to be unlocked.
      if (running === undefined) await endAgent(vault);
      throw error;
    }
  }
  if (lockAfter !== undefined) await vault.setLockAfter(parseLockAfter(lockAfter));
  const { pid, locksIn, sshAgentSocket } = await vault.status();
  const started = running === undefined;
  if (options.json) {
    return printJson(terminal, { unlocked: true, before, started, pid, locksIn, sshAgentSocket });
  }
  const seconds = Math.round((locksIn ?? 0) / 1_000);
  const end = locksIn === undefined ? "" : `; it locks after ${formatSeconds(seconds)} without use`;
  say(
    terminal,
    `${before && !started ? "It is unlocked already" : "Unlocked"}${end}. Lock it: alknet vault lock`,
  );
  if (!started) return;
  say(
    terminal,
    `An agent holds it, pid ${pid}; for ssh: eval "$(alknet vault agent --background)"`,
  );
}

export async function lockCommand(context: Context, { json }: Json): Promise<void> {
  const { terminal } = context;
  const running = await runningVault(context);
  const before = running !== undefined && (await running.status()).unlocked;
  await running?.lock();
  if (json) return printJson(terminal, { unlocked: false, before });
  say(terminal, before ? "Locked." : "It is locked already.");
}
