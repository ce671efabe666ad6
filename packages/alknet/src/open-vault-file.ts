/**
 * The vault's file, opened by its passphrase, for what an agent never does: showing words and private keys, changing
 * what opens it.
 *
 * @module
 */

import { openVaultFile, type OpenedVault } from "@alknet/vault/vault-file";
import type { Context } from "./context.ts";
import { requireVault } from "./open-vault.ts";
import { type PassphraseFlags, tryPassphrases } from "./read-secret.ts";

/**
 * Ask for the passphrase, up to three times on a terminal, and open the file. `using` wipes what was in it.
 *
 * @throws {CommandError} `VAULT_MISSING`, `NO_TERMINAL`, `PASSPHRASE_EMPTY`
 * @throws {VaultError}
 */
export async function openVaultByPassphrase(
  context: Context,
  flags: PassphraseFlags,
): Promise<OpenedVault> {
  requireVault(context);
  return await tryPassphrases(context, flags, (passphrase) =>
    openVaultFile(context.home.vault, { passphrase }),
  );
}
