/**
 * `alknet vault derive`, `ssh-key`, `age-key` and `pkarr-key`: keys of the vault, public ones for whoever may use it, and
 * private ones for who has the passphrase.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { loadConfig } from "@alknet/core/config-file";
import { ageIdentityFile } from "@alknet/vault/age-identity";
import {
  ageKeyPath,
  formatPath,
  IDENTITY_PATH,
  parsePath,
  pkarrKeyPath,
  SSH_HOST_PATH,
  sshKeyPath,
} from "@alknet/vault/derivation-path";
import { opensshPrivateKeyFile, sshFingerprint, sshPublicKeyLine } from "@alknet/vault/openssh-key";
import { pkarrPublicKey, pkarrSecretKey } from "@alknet/vault/pkarr-key";
import { createVault, type Vault } from "@alknet/vault/vault";
import type { NamedKey } from "@alknet/vault/vault-file-body";
import { secretBytes, wipe } from "@alknet/vault/wipe";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { openVault } from "../open-vault.ts";
import { openVaultByPassphrase } from "../open-vault-file.ts";
import { confirm, type PassphraseFlags } from "../read-secret.ts";
import { printSecretJson } from "../secret-json.ts";
import { shellWord } from "../shell-word.ts";
import { printJson, say } from "../terminal.ts";
import type { VaultOperations } from "../vault-agent-operations.ts";

export interface KeyOptions extends PassphraseFlags {
  readonly json: boolean;
  /** Print the private key. */
  readonly private: boolean;
  /** Do so without a question. */
  readonly force: boolean;
  /** A new file for it, in the place of stdout. */
  readonly output?: string | undefined;
}

export interface NamedKeyOptions extends KeyOptions {
  readonly name: string;
}

export interface SshKeyOptions extends NamedKeyOptions {
  /** Whether the agent asks before each use; `undefined`: as it is. */
  readonly confirm?: boolean | undefined;
  /** Take it off the agent's list. */
  readonly forget: boolean;
}

/** Names that may stand for paths. */
const PATHS: ReadonlyMap<string, string> = new Map([
  ["identity", IDENTITY_PATH],
  ["ssh-host", SSH_HOST_PATH],
]);

/** The Ed25519 key at a path, in hex. */
export async function deriveCommand(
  context: Context,
  pathOrName: string,
  options: KeyOptions,
): Promise<void> {
  const path = formatPath(parsePath(PATHS.get(pathOrName) ?? pathOrName));
  if (options.private) {
    return await printPrivate(context, options, `the private key of ${path}`, (vault) => {
      using key = vault.deriveEd25519(path);
      return hexLine(key.privateKey);
    });
  }
  await usingVault(context, options, async (vault) => {
    const publicKey = Buffer.from(await vault.publicKey(path)).toString("hex");
    tellPublic(context, options, publicKey, { path, publicKey });
  });
}

/** The public line; the agent offers the key from then on. */
export async function sshKeyCommand(context: Context, options: SshKeyOptions): Promise<void> {
  const { name, confirm: asks } = options;
  const path = sshKeyPath(name);
  if (options.private) {
    return await printPrivate(context, options, `the private SSH key "${name}"`, (vault) => {
      using key = vault.deriveEd25519(path);
      return opensshPrivateKeyFile(key.privateKey, key.publicKey, name);
    });
  }
  await usingVault(context, options, async (vault) => {
    if (options.forget) return await forgetKey(context, vault, options);
    const { known, key } = await keepName(vault, { kind: "ssh", name }, asks);
    const publicKey = await vault.publicKey(path);
    const line = sshPublicKeyLine(publicKey, name);
    const fingerprint = sshFingerprint(publicKey);
    tellPublic(context, options, line, { ...key, path, publicKey: line, fingerprint });
    if (!known && !options.json && context.terminal.words.isTerminal) {
      say(
        context.terminal,
        '\nThe agent has it now; for ssh: eval "$(alknet vault agent --background)"',
      );
    }
  });
}

/** The recipient. */
export async function ageKeyCommand(context: Context, options: NamedKeyOptions): Promise<void> {
  const { name } = options;
  const path = ageKeyPath(name);
  if (options.private) {
    return await printPrivate(context, options, `the age identity "${name}"`, (vault) =>
      withSecret(vault, path, ageIdentityFile),
    );
  }
  await usingVault(context, options, async (vault) => {
    const recipient = await vault.ageRecipient(name);
    await keepName(vault, { kind: "age", name });
    tellPublic(context, options, recipient, { name, path, recipient });
  });
}

/** The public key as pkarr writes it. */
export async function pkarrKeyCommand(context: Context, options: NamedKeyOptions): Promise<void> {
  const { name } = options;
  const path = pkarrKeyPath(name);
  if (options.private) {
    return await printPrivate(context, options, `the pkarr key "${name}"`, (vault) =>
      withSecret(vault, path, (seed) => lineOf(pkarrSecretKey(seed))),
    );
  }
  await usingVault(context, options, async (vault) => {
    const publicKey = pkarrPublicKey(await vault.publicKey(path));
    await keepName(vault, { kind: "pkarr", name });
    tellPublic(context, options, publicKey, { name, path, publicKey });
  });
}

/** Have the vault remember that there is such a key: `status` lists them, and the agent offers those for SSH. */
async function keepName(
  vault: VaultOperations,
  { kind, name }: Pick<NamedKey, "kind" | "name">,
  confirm?: boolean,
): Promise<{ readonly known: boolean; readonly key: NamedKey }> {
  const found = (await vault.names()).find((each) => each.kind === kind && each.name === name);
  const key: NamedKey = { kind, name, confirm: confirm ?? found?.confirm ?? false };
  if (found?.confirm !== key.confirm) await vault.addName(key);
  return { known: found !== undefined, key };
}

async function forgetKey(
  { terminal }: Context,
  vault: VaultOperations,
  { name, json }: SshKeyOptions,
): Promise<void> {
  const removed = await vault.removeName({ kind: "ssh", name });
  if (json) return printJson(terminal, { kind: "ssh", name, removed });
  say(terminal, removed ? "The agent offers it no more." : "The agent does not offer that.");
}

function tellPublic(
  { terminal }: Context,
  { json }: KeyOptions,
  line: string,
  document: object,
): void {
  if (json) printJson(terminal, document);
  else terminal.data.write(`${line}\n`);
}

/** What an agent never gives away: it takes the passphrase, and a yes. */
async function printPrivate(
  context: Context,
  options: KeyOptions,
  what: string,
  textOf: (vault: Vault) => Uint8Array,
): Promise<void> {
  const { terminal } = context;
  const { output, json, force } = options;
  const printed = terminal.data.isTerminal ? "on this terminal" : "on standard output";
  const where = output === undefined ? printed : `to ${output}`;
  await confirm(context, `Write ${what} ${where}?`, force);
  await usingVaultFile(context, options, async (vault) => {
    const text = textOf(vault);
    try {
      if (output === undefined && json) return await printSecretJson(terminal, { what }, text);
      if (output === undefined) return await terminal.data.writeBytes(text);
      // With a mode that ssh accepts; what a shell makes, it does not.
      writeNewFile(output, text);
    } finally {
      wipe(text);
    }
    if (json) printJson(terminal, { output });
  });
}

function writeNewFile(path: string, text: Uint8Array): void {
  try {
    writeFileSync(path, text, { flag: "wx", mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new CommandError(`there is a file already: ${path}`, {
      code: "OUTPUT_EXISTS",
      hint: `another name; or, if it is not needed, first: rm ${shellWord(path)}`,
    });
  }
}

async function usingVault(
  context: Context,
  flags: PassphraseFlags,
  work: (vault: VaultOperations) => Promise<void>,
): Promise<void> {
  const config = await loadConfig(context.home.config);
  using opened = await openVault(context, config, flags);
  await work(opened.vault);
}

async function usingVaultFile(
  context: Context,
  flags: PassphraseFlags,
  work: (vault: Vault) => Promise<void>,
): Promise<void> {
  using file = await openVaultByPassphrase(context, flags);
  using vault = createVault();
  vault.unlockSeed(file.seed);
  await work(vault);
}

function withSecret<Result>(
  vault: Vault,
  path: string,
  use: (secret: Uint8Array) => Result,
): Result {
  const secret = vault.derivePrivate32(path);
  try {
    return use(secret);
  } finally {
    wipe(secret);
  }
}

function hexLine(bytes: Uint8Array): Uint8Array {
  return lineOf(pkarrSecretKey(bytes));
}

/** With a line end; `text` is wiped. */
function lineOf(text: Uint8Array): Uint8Array {
  const line = secretBytes(text.length + 1).fill(0x0a);
  line.set(text);
  wipe(text);
  return line;
}
