/**
 * Checks of the vault: its file, whether it is open, and what is to open it where nobody is there.
 *
 * Nobody is asked for a passphrase, and nothing is unlocked: a doctor only looks.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import type { Home } from "@alknet/core/home";
import { inspectVaultFile, type VaultFileSummary } from "@alknet/vault/vault-file";
import { wipe } from "@alknet/vault/wipe";
import { explain } from "../explain.ts";
import { hasVault } from "../has-vault.ts";
import { unlockKeySources } from "../open-vault.ts";
import { runningVault } from "../running-vault.ts";
import { shellWord } from "../shell-word.ts";
import type { Finding } from "./finding.ts";

/** What there is to say of the vault; nothing if there is none. */
export async function checkVault(home: Home, config: Config | undefined): Promise<Finding[]> {
  if (!hasVault(home)) return [];
  let summary: VaultFileSummary;
  try {
    summary = inspectVaultFile(home.vault);
  } catch (error) {
    return [problem("vault", error)];
  }
  const findings = [await checkAgent(home)];
  if (config !== undefined) findings.push(...(await checkUnlockKeys(home, config, summary)));
  return findings;
}

async function checkAgent(home: Home): Promise<Finding> {
  const check = "vault";
  try {
    const vault = await runningVault({ home });
    if (vault === undefined) {
      return { check, state: "ok", text: `${home.vault}: locked, and no agent runs` };
    }
    const { unlocked, sshAgentSocket } = await vault.status();
    const text = `${unlocked ? "unlocked" : "locked"}; for ssh: SSH_AUTH_SOCK=${sshAgentSocket}`;
    return { check, state: "ok", text };
  } catch (error) {
    return problem(check, error);
  }
}

/** What the configuration wants it opened by. */
async function checkUnlockKeys(
  home: Home,
  config: Config,
  { unlockKeys }: VaultFileSummary,
): Promise<Finding[]> {
  const check = "unlock key";
  const { keyring, keyFile } = config.vault;
  if (!keyring && keyFile === undefined) return [];
  const [source] = await unlockKeySources(home, config);
  const into = keyring ? "--keyring" : `--file ${shellWord(keyFile ?? "")}`;
  const add = `alknet vault unlock-key add ${into}`;
  try {
    const key = await source.read();
    wipe(key);
    if (key === undefined) {
      const text = `there is none in ${source.name}: a person has to type the passphrase`;
      return [{ check, state: "warning", text, fix: add }];
    }
    if (unlockKeys.length > 0) return [{ check, state: "ok", text: source.name }];
    // Whether it is one of those that there are, only opening the vault would tell.
    const text = `${source.name} has one, and the vault knows of none`;
    const fix = keyring ? add : `rm ${shellWord(keyFile ?? "")}; ${add}`;
    return [{ check, state: "warning", text, fix }];
  } catch (error) {
    return [problem(check, error)];
  }
}

function problem(check: string, error: unknown): Finding {
  const { message, hint } = explain(error);
  return { check, state: "problem", text: message, fix: hint };
}
