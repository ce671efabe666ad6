/**
 * `alknet credential`: secrets for others' services, sealed by the vault and kept in the store.
 *
 * A secret comes from stdin or is typed unseen, and never stands among the arguments, which other programs can read.
 *
 * @module
 */

import type { IdentityStore } from "@alknet/core/identity-store";
import { nearestWord } from "@alknet/core/nearest-word";
import type { EncryptedData } from "@alknet/core/store-backend";
import { checkProvider } from "@alknet/core/store-rules";
import { wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { tellEffect } from "../effect.ts";
import { type OpenedStore, withStore } from "../open-store.ts";
import { openVault, requireVault } from "../open-vault.ts";
import type { PassphraseFlags } from "../read-secret.ts";
import { printSecretJson } from "../secret-json.ts";
import {
  credentialProblems,
  MAX_SECRET,
  openCredential,
  sealCredential,
} from "../sealed-credential.ts";
import { printable, printFields, printJson, say } from "../terminal.ts";

interface Json {
  readonly json: boolean;
}

export interface SetCredentialOptions extends Json, PassphraseFlags {
  /** Leave out an end of line at the end of what is piped in. */
  readonly trim: boolean;
}

export async function setCredential(
  context: Context,
  provider: string,
  options: SetCredentialOptions,
): Promise<void> {
  requireVault(context);
  checkName(provider);
  await withStore(context, "create", async (opened) => {
    const { credentials } = opened.store;
    const value = await readSealed(context, opened, provider, options);
    const replaced = credentials.get(provider) !== undefined;
    const committed = await credentials.put(provider, value);
    const document = { provider, ...version(value), replaced };
    await tellEffect(context, committed, { json: options.json, document, ends: false });
  });
}

/** Open the vault, have the secret given, and seal it. */
async function readSealed(
  context: Context,
  { store, config }: OpenedStore,
  provider: string,
  { trim, passphraseStdin }: SetCredentialOptions,
): Promise<EncryptedData> {
  using secrets = new DisposableStack();
  // It takes the passphrase off stdin, so that what is left is the secret.
  using opened = await openVault(context, config, { passphraseStdin });
  const secret = secrets.adopt(await readSecret(context, provider, trim), wipe);
  return await sealCredential(opened.vault, store.credentials, provider, secret);
}

export interface GetCredentialOptions extends Json, PassphraseFlags {
  /** Also onto a terminal. */
  readonly force: boolean;
}

export async function getCredential(
  context: Context,
  provider: string,
  { json, force, passphraseStdin }: GetCredentialOptions,
): Promise<void> {
  const { data } = context.terminal;
  if (data.isTerminal && !force) {
    throw new CommandError("a secret is not shown on a terminal, where it would stay", {
      code: "SECRET_ON_TERMINAL",
      hint: `pass it on: alknet credential get ${provider} | COMMAND; or, if it is meant, add --force`,
      exitCode: ExitCode.USAGE,
    });
  }
  await withStore(context, "read", async ({ store, config }) => {
    const value = store.credentials.get(provider) ?? notThere(store, provider);
    using opened = await openVault(context, config, { passphraseStdin });
    const secret = await openCredential(opened.vault, provider, value);
    try {
      if (json)
        return await printSecretJson(context.terminal, { provider, ...version(value) }, secret);
      await data.writeBytes(secret);
      // What comes next on the screen is the prompt.
      if (data.isTerminal) data.write("\n");
    } finally {
      wipe(secret);
    }
  });
}

export async function listCredentials(context: Context, { json }: Json): Promise<void> {
  const { terminal } = context;
  await withStore(context, "read", async ({ store }) => {
    const credentials = store.credentials.list().map(({ provider, value }) => ({
      provider,
      ...version(value),
      sealed_bytes: value.data.length,
    }));
    const problems = credentialProblems(store);
    if (json) return printJson(terminal, { credentials, problems });
    for (const { subject, message } of problems) say(terminal, `note: ${subject}: ${message}`);
    if (credentials.length === 0) {
      say(terminal, "No credentials yet. Keep one: alknet credential set PROVIDER");
      return;
    }
    printFields(
      terminal,
      credentials.map(({ provider, key_version }) => [provider, `key version ${key_version}`]),
    );
  });
}

export async function removeCredential(
  context: Context,
  provider: string,
  { json }: Json,
): Promise<void> {
  await withStore(context, "change", async ({ store }) => {
    const { credentials } = store;
    const committed = await credentials.delete(provider);
    // One that cannot be used is no credential, and can be removed.
    if (committed.change === 0) notThere(store, provider);
    await tellEffect(context, committed, { json, document: { provider }, ends: false });
  });
}

/** @throws {CommandError} `PROVIDER_INVALID` */
function checkName(provider: string): void {
  try {
    checkProvider(provider);
  } catch (error) {
    const { message } = error as TypeError;
    throw new CommandError(printable(message), {
      code: "PROVIDER_INVALID",
      cause: error,
      hint: "for example: alknet credential set github",
      exitCode: ExitCode.USAGE,
    });
  }
}

function notThere(store: IdentityStore, provider: string): never {
  const names = store.credentials.list().map((it) => it.provider);
  const near = nearestWord(provider, names);
  const problem = credentialProblems(store).find(
    ({ subject }) => subject === `credential ${provider}`,
  );
  const text =
    problem === undefined
      ? `there is no credential for ${JSON.stringify(printable(provider))}`
      : `the credential for ${provider} cannot be used: ${printable(problem.message)}`;
  throw new CommandError(text, {
    code: problem === undefined ? "STORE_NOT_FOUND" : "STORE_CORRUPT",
    hint:
      problem !== undefined
        ? `set it again: alknet credential set ${provider}`
        : near === undefined
          ? "see which there are: alknet credential list"
          : `did you mean ${near}? All there are: alknet credential list`,
  });
}

function version({ key_version }: EncryptedData): { readonly key_version: number } {
  return { key_version };
}

/** The caller wipes it. */
async function readSecret(context: Context, provider: string, trim: boolean): Promise<Uint8Array> {
  const { input, terminal } = context;
  const secret = input.isTerminal
    ? await askSecret(context, provider)
    : await input.rest(MAX_SECRET);
  const end = trim ? endOf(secret) : secret.length;
  if (end === 0) {
    throw new CommandError("expected a secret, got nothing", {
      code: "SECRET_EMPTY",
      hint: `type it: alknet credential set ${provider}; or pipe it in: COMMAND | alknet credential set ${provider}`,
      exitCode: ExitCode.USAGE,
    });
  }
  if (!trim && secret.indexOf(LINE_FEED) === secret.length - 1) {
    say(terminal, "note: the end of the line is part of the secret; without it: --trim");
  }
  return secret.subarray(0, end);
}

async function askSecret(context: Context, provider: string): Promise<Uint8Array> {
  using tty = await context.openTty();
  if (tty !== undefined) return await tty.askHidden(`Secret for ${provider}: `);
  throw new CommandError("cannot ask for the secret: there is no terminal", {
    code: "NO_TERMINAL",
    hint: `pipe it in: COMMAND | alknet credential set ${provider}`,
    exitCode: ExitCode.USAGE,
  });
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Length without one end of line at the end. */
function endOf(bytes: Uint8Array): number {
  if (bytes.at(-1) !== LINE_FEED) return bytes.length;
  return bytes.length - (bytes.at(-2) === CARRIAGE_RETURN ? 2 : 1);
}
