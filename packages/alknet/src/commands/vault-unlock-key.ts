/**
 * `alknet vault unlock-key add|list|remove`: keys that open the vault where no person is there to type a passphrase.
 *
 * @module
 */

import { resolve } from "node:path";
import { formatUnlockKey, writeUnlockKeyFile } from "@alknet/vault/unlock-key";
import { inspectVaultFile } from "@alknet/vault/vault-file";
import { wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { putKeyringKey, removeKeyringKey } from "../keyring.ts";
import { requireVault } from "../open-vault.ts";
import { openVaultByPassphrase } from "../open-vault-file.ts";
import type { PassphraseFlags } from "../read-secret.ts";
import { printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

export interface AddUnlockKeyOptions extends Json, PassphraseFlags {
  /** What it is called. */
  readonly label?: string | undefined;
  /** A new file for it. */
  readonly file?: string | undefined;
  /** The system's keyring keeps it. */
  readonly keyring: boolean;
  /** It is printed, as for `systemd-creds encrypt`. */
  readonly stdout: boolean;
}

/** The label of the one in the keyring: there is one keyring, and so one key. */
const KEYRING = "keyring";

export async function addUnlockKey(context: Context, options: AddUnlockKeyOptions): Promise<void> {
  const { keyring, file, stdout, json } = options;
  if (Number(keyring) + Number(file !== undefined) + Number(stdout) !== 1) throw whereTo();
  if (stdout && context.terminal.data.isTerminal) throw onTerminal();
  const label = options.label ?? (keyring ? KEYRING : "boot");
  using vault = await openVaultByPassphrase(context, options);
  if (vault.unlockKeys.includes(label)) throw taken(label);
  const key = await vault.addUnlockKey(label);
  try {
    await store(context, key, options);
  } catch (error) {
    // One that nobody has opens nothing.
    await vault.removeUnlockKey(label);
    throw error;
  } finally {
    wipe(key);
  }
  if (stdout) return;
  if (json) return printJson(context.terminal, { label, keyring, file });
  tellNext(context, options);
}

export function listUnlockKeys(context: Context, { json }: Json): void {
  const { terminal, home } = context;
  requireVault(context);
  const { unlockKeys } = inspectVaultFile(home.vault);
  if (json) return printJson(terminal, { unlockKeys });
  if (unlockKeys.length === 0) {
    return say(
      terminal,
      "None: the passphrase alone opens it. Make one: alknet vault unlock-key add",
    );
  }
  for (const label of unlockKeys) terminal.data.write(`${label}\n`);
}

export async function removeUnlockKey(
  context: Context,
  label: string,
  { json, ...flags }: Json & PassphraseFlags,
): Promise<void> {
  using vault = await openVaultByPassphrase(context, flags);
  if (!(await vault.removeUnlockKey(label))) {
    throw new CommandError(`there is no unlock key ${JSON.stringify(label)}`, {
      code: "UNLOCK_KEY_UNKNOWN",
      hint: "see which there are: alknet vault unlock-key list",
    });
  }
  // What it opens no more need not be there; where there is no keyring, it is not.
  if (label === KEYRING) await removeKeyringKey(context.home.vault).catch(() => false);
  if (json) printJson(context.terminal, { label, removed: true });
  else
    say(
      context.terminal,
      "It opens the vault no more. Copies of the vault's file open with it still.",
    );
}

async function store(
  { home, terminal }: Context,
  key: Uint8Array,
  { keyring, file }: AddUnlockKeyOptions,
): Promise<void> {
  if (keyring) return await putKeyringKey(home.vault, key);
  if (file !== undefined) return writeUnlockKeyFile(resolve(file), key);
  const text = formatUnlockKey(key);
  try {
    await terminal.data.writeBytes(text);
  } finally {
    wipe(text);
  }
}

function tellNext({ home, terminal }: Context, { keyring, file = "" }: AddUnlockKeyOptions): void {
  const line = keyring ? "keyring = true" : `key_file = ${JSON.stringify(resolve(file))}`;
  say(terminal, `Have it used: in ${home.config}\n\n[vault]\n${line}\n`);
  if (!keyring) say(terminal, "Whoever can read that file and the vault's has every key of it.");
}

function whereTo(): CommandError {
  return new CommandError("expected one of --file, --keyring and --stdout", {
    code: "USAGE",
    hint: "for a machine without a desktop: alknet vault unlock-key add --file /etc/alknet/vault.key",
    exitCode: ExitCode.USAGE,
  });
}

function onTerminal(): CommandError {
  return new CommandError("the key would stay on the terminal", {
    code: "SECRET_ON_TERMINAL",
    hint: "send it elsewhere: alknet vault unlock-key add --stdout | COMMAND; or make a file: --file FILE",
    exitCode: ExitCode.USAGE,
  });
}

function taken(label: string): CommandError {
  return new CommandError(`there is an unlock key "${label}" already`, {
    code: "UNLOCK_KEY_EXISTS",
    hint: `another name: --label NAME; or first: alknet vault unlock-key remove ${label}`,
  });
}
