/**
 * `alknet vault show-words` and `alknet vault passwd`: what takes the passphrase itself, whoever holds the vault open.
 *
 * @module
 */

import { formatMnemonic } from "@alknet/vault/mnemonic";
import { wipe } from "@alknet/vault/wipe";
import type { Context } from "../context.ts";
import { openVaultByPassphrase } from "../open-vault-file.ts";
import { noTerminal, type PassphraseFlags, readNewPassphrase } from "../read-secret.ts";
import { printJson, say } from "../terminal.ts";
import { printWords, showWords } from "../words-on-terminal.ts";

interface Options extends PassphraseFlags {
  readonly json: boolean;
}

/** On a screen of their own; with `force` on stdout. */
export async function showWordsCommand(
  context: Context,
  { force, json, ...flags }: Options & { readonly force: boolean },
): Promise<void> {
  const { terminal } = context;
  using file = await openVaultByPassphrase(context, flags);
  using secrets = new DisposableStack();
  const phrase = secrets.adopt(formatMnemonic(file.entropy), wipe);
  const note = file.passphraseUsed ? "They count together with their BIP39 passphrase." : "";
  if (force) {
    const rest = json ? { bip39Passphrase: file.passphraseUsed } : undefined;
    await printWords(terminal, phrase, rest);
    if (note !== "") say(terminal, `note: ${note}`);
    return;
  }
  using tty = await context.openTty();
  if (tty === undefined) throw noTerminal("who looks on", "print them on stdout: --force");
  await showWords(tty, phrase, `The words of this vault, in their order. ${note}`.trimEnd());
}

/** From stdin: the old passphrase, a line, and the new one. */
export async function passwdCommand(context: Context, { json, ...flags }: Options): Promise<void> {
  const { terminal } = context;
  using file = await openVaultByPassphrase(context, flags);
  using secrets = new DisposableStack();
  const passphrase = secrets.adopt(await readNewPassphrase(context, flags), wipe);
  await file.changePassphrase(passphrase);
  if (json) return printJson(terminal, { changed: true });
  say(
    terminal,
    "The passphrase is another one now. Copies of the file open with the old one still.",
  );
}
