/**
 * `alknet vault encrypt` and `alknet vault decrypt`: from stdin to stdout, with a key of the vault.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import {
  type EncryptedData,
  encryptedDataToJson,
  parseEncryptedData,
} from "@alknet/vault/encrypted-data";
import { wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { openVault } from "../open-vault.ts";
import type { PassphraseFlags } from "../read-secret.ts";
import { printSecretJson } from "../secret-json.ts";
import { printJson } from "../terminal.ts";
import { MAX_AGENT_PLAINTEXT } from "../vault-agent-operations.ts";

export interface EncryptOptions extends PassphraseFlags {
  /** What the result is bound to: it opens with the same context only. */
  readonly context?: string | undefined;
  readonly keyVersion?: number | undefined;
}

export interface DecryptOptions extends PassphraseFlags {
  readonly json: boolean;
  readonly context?: string | undefined;
  /** Print to a terminal, too. */
  readonly force: boolean;
}

/** Longest sealed data that is read, in bytes: base64 and the other fields. */
const MAX_SEALED: number = 2 * MAX_AGENT_PLAINTEXT;

export async function encryptCommand(
  context: Context,
  { context: bound, keyVersion: version, ...flags }: EncryptOptions,
): Promise<void> {
  const config = await loadConfig(context.home.config);
  using opened = await openVault(context, config, flags);
  const plaintext = await context.input.rest(MAX_AGENT_PLAINTEXT);
  try {
    const sealed = await opened.vault.encrypt(plaintext, { context: bound, version });
    printJson(context.terminal, encryptedDataToJson(sealed));
  } finally {
    wipe(plaintext);
  }
}

export async function decryptCommand(
  context: Context,
  { context: bound, force, json, ...flags }: DecryptOptions,
): Promise<void> {
  const { data } = context.terminal;
  if (data.isTerminal && !force) {
    throw new CommandError("what is decrypted would stay on the terminal", {
      code: "SECRET_ON_TERMINAL",
      hint: "send it elsewhere: alknet vault decrypt … > FILE; or, if it is meant: --force",
      exitCode: ExitCode.USAGE,
    });
  }
  const config = await loadConfig(context.home.config);
  using opened = await openVault(context, config, flags);
  const sealed = parseSealed(await context.input.rest(MAX_SEALED));
  const plaintext = await opened.vault.decrypt(sealed, { context: bound });
  try {
    if (json) return await printSecretJson(context.terminal, { context: bound ?? null }, plaintext);
    await data.writeBytes(plaintext);
    // What comes next on the screen is the prompt.
    if (data.isTerminal) data.write("\n");
  } finally {
    wipe(plaintext);
  }
}

function parseSealed(bytes: Uint8Array): EncryptedData {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    throw new CommandError("cannot read that: expected what alknet vault encrypt has printed", {
      code: "ENCRYPTED_DATA_INVALID",
      exitCode: ExitCode.USAGE,
    });
  }
  return parseEncryptedData(json);
}
