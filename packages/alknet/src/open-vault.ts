/**
 * The vault of this folder, unlocked, for commands: the one of the agent that runs, or one that lives as long as the
 * command does.
 *
 * What opens it, in this order: stdin if that was asked for; the keyring or the file that `[vault]` of the configuration
 * names, or a systemd credential; a person at the terminal.
 *
 * @module
 */

import type { Config } from "@alknet/core/config";
import type { Home } from "@alknet/core/home";
import { systemdUnlockKey, unlockKeyFile, type UnlockKeySource } from "@alknet/vault/unlock-key";
import type { VaultFileSecret } from "@alknet/vault/vault-file";
import { wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";
import { hasVault } from "./has-vault.ts";
import { type PassphraseFlags, readPassphrase, tryPassphrases } from "./read-secret.ts";
import { runningVault } from "./running-vault.ts";
import { say } from "./terminal.ts";
import type { VaultOperations } from "./vault-agent-operations.ts";

/** An unlocked vault; disposing lets go of it, and locks it if it was opened for this command. */
export interface UnlockedVault extends Disposable {
  readonly vault: VaultOperations;
}

const NOT_FROM_STDIN: PassphraseFlags = { passphraseStdin: false };

/**
 * Open the vault for a command.
 *
 * @throws {CommandError} `VAULT_MISSING`; `VAULT_LOCKED` (exit code 5) if nothing opens it.
 * @throws {VaultError} as the vault file, and what was given to open it, make it.
 */
export async function openVault(
  context: Context,
  config: Config,
  flags: PassphraseFlags = NOT_FROM_STDIN,
): Promise<UnlockedVault> {
  requireVault(context);
  const running = await runningVault(context);
  if (running !== undefined) {
    await unlockVault(context, config, running, flags);
    return { vault: running, [Symbol.dispose]() {} };
  }
  // All that makes keys: not wanted where an agent runs.
  const { holdVault } = await import("./held-vault.ts");
  const vault = holdVault({ file: context.home.vault, lockAfter: undefined });
  // Nothing has to be wiped if this fails: it is locked then.
  await unlockVault(context, config, vault, flags);
  return { vault, [Symbol.dispose]: () => vault[Symbol.dispose]() };
}

/**
 * Unlock `vault`, unless it is.
 *
 * @throws as {@linkcode openVault}
 */
export async function unlockVault(
  context: Context,
  config: Config,
  vault: VaultOperations,
  flags: PassphraseFlags = NOT_FROM_STDIN,
): Promise<void> {
  if ((await vault.status()).unlocked) {
    // Wanted or not, it must not become part of what the command reads after it.
    if (flags.passphraseStdin) wipe(await readPassphrase(context, flags));
    return;
  }
  let why: Error | undefined;
  if (!flags.passphraseStdin) {
    try {
      if (await unlockByMachine(context, config, vault)) return;
    } catch (error) {
      // A person may know the passphrase still.
      why = error as Error;
      say(context.terminal, `note: ${why.message}`);
    }
  }
  try {
    await tryPassphrases(context, flags, (passphrase) => unlock(vault, { passphrase }));
  } catch (error) {
    throw (error as { code?: unknown }).code === "NO_TERMINAL" ? locked(why) : error;
  }
}

/**
 * Unlock `vault` with the key that this machine keeps, if it does.
 *
 * @returns whether it did.
 * @throws if there is one, and it cannot be had or does not open it.
 */
export async function unlockByMachine(
  context: Context,
  config: Config,
  vault: VaultOperations,
): Promise<boolean> {
  for (const source of await unlockKeySources(context.home, config)) {
    const unlockKey = await source.read();
    if (unlockKey === undefined) continue;
    try {
      await unlock(vault, { unlockKey });
      return true;
    } finally {
      wipe(unlockKey);
    }
  }
  return false;
}

async function unlock(vault: VaultOperations, using: VaultFileSecret): Promise<void> {
  try {
    await vault.unlock(using);
  } catch (error) {
    // Somebody was faster, while a person was typing.
    if ((error as { code?: unknown }).code !== "ALREADY_UNLOCKED") throw error;
  }
}

/** @throws {CommandError} `VAULT_MISSING` */
export function requireVault({ home }: Pick<Context, "home">): void {
  if (hasVault(home)) return;
  throw new CommandError(`there is no vault in this folder: ${home.vault}`, {
    code: "VAULT_MISSING",
    hint: "make one: alknet vault create; or bring one back from its words: alknet vault import",
  });
}

/** Where this machine may have a key, the likeliest first. */
export async function unlockKeySources(
  home: Pick<Home, "vault">,
  { vault: { keyring, keyFile } }: Config,
): Promise<readonly [UnlockKeySource, ...UnlockKeySource[]]> {
  const systemd = systemdUnlockKey(process.env);
  if (keyFile !== undefined) return [unlockKeyFile(keyFile), systemd];
  if (!keyring) return [systemd];
  const { keyringKey } = await import("./keyring.ts");
  return [keyringKey(home.vault), systemd];
}

/** @param why what should have opened it did not. */
function locked(why: Error | undefined): CommandError {
  return new CommandError(`the vault is locked${why === undefined ? "" : `: ${why.message}`}`, {
    code: "VAULT_LOCKED",
    hint: "alknet vault unlock",
    exitCode: ExitCode.VAULT_LOCKED,
    cause: why,
  });
}
