/**
 * `alknet vault create` and `alknet vault import`: a vault from new words, or from words there are.
 *
 * Nothing is written before all has been asked: who changes their mind leaves no trace.
 *
 * @module
 */

import { existsSync, renameSync } from "node:fs";
import type { Config } from "@alknet/core/config";
import { loadConfig } from "@alknet/core/config-file";
import { fingerprintOfPublicKey } from "@alknet/core/fingerprint";
import { IDENTITY_PATH, SSH_HOST_PATH } from "@alknet/vault/derivation-path";
import {
  formatMnemonic,
  newEntropy,
  parseMnemonic,
  seedFromMnemonic,
  type WordCount,
} from "@alknet/vault/mnemonic";
import { sshPublicKeyLine } from "@alknet/vault/openssh-key";
import { createVault } from "@alknet/vault/vault";
import { createVaultFile } from "@alknet/vault/vault-file";
import { wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { askNode } from "../control.ts";
import { hasVault } from "../has-vault.ts";
import { makeHome } from "../home-folder.ts";
import { ATTEMPTS, noTerminal, type PassphraseFlags, readNewPassphrase } from "../read-secret.ts";
import { runningVault } from "../running-vault.ts";
import { shellWord } from "../shell-word.ts";
import { printFields, printJson, say } from "../terminal.ts";
import {
  askWordsBack,
  MAX_PHRASE,
  printWords,
  readWords,
  showWords,
} from "../words-on-terminal.ts";

export interface MakeVaultOptions extends PassphraseFlags {
  readonly json: boolean;
  /** The words are stretched with a passphrase of their own, BIP39's "25th word". */
  readonly bip39Passphrase: boolean;
  /** The node has a key in a file, and is to take the vault's. */
  readonly replaceIdentity: boolean;
}

export interface CreateVaultOptions extends MakeVaultOptions {
  readonly words: WordCount;
  /** Print the words on stdout. */
  readonly force: boolean;
  /** Ask some of the words back. */
  readonly check: boolean;
}

export async function createVaultCommand(
  context: Context,
  options: CreateVaultOptions,
): Promise<void> {
  if (options.force === options.check) throw forceWithoutCheck();
  const config = await mayMakeVault(context, options);
  using secrets = new DisposableStack();
  const passphrases = secrets.use(await readPassphrases(context, options));
  const entropy = secrets.adopt(newEntropy(options.words), wipe);
  const phrase = secrets.adopt(formatMnemonic(entropy), wipe);
  if (options.check) await handOver(context, phrase);
  const made = await makeVault(context, config, { entropy, phrase, ...passphrases });
  await tellVault(context, made, options, options.force ? phrase : undefined);
}

export async function importVaultCommand(
  context: Context,
  options: MakeVaultOptions,
): Promise<void> {
  const config = await mayMakeVault(context, options);
  using secrets = new DisposableStack();
  const passphrases = secrets.use(await readPassphrases(context, options));
  const entropy = secrets.adopt(await readEntropy(context), wipe);
  const phrase = secrets.adopt(formatMnemonic(entropy), wipe);
  const made = await makeVault(context, config, { entropy, phrase, ...passphrases });
  await tellVault(context, made, options);
}

interface Passphrases {
  /** What seals the file. */
  readonly passphrase: Uint8Array;
  /** What the words are stretched with; empty: nothing. */
  readonly bip39: Uint8Array;
}

interface VaultSecrets extends Passphrases {
  readonly entropy: Uint8Array;
  readonly phrase: Uint8Array;
}

/** What may be known of a vault. */
interface MadeVault {
  readonly path: string;
  readonly fingerprint: string;
  readonly sshHostKey: string;
  /** Where the key is now that was the node's before. */
  readonly replaced: string | undefined;
  /** `identity` of the configuration goes before the vault. */
  readonly unused: boolean;
}

/** @throws {CommandError} `VAULT_EXISTS`, `IDENTITY_EXISTS`, `ALREADY_RUNNING` */
async function mayMakeVault(
  { home }: Context,
  { replaceIdentity }: MakeVaultOptions,
): Promise<Config> {
  makeHome(home);
  if (hasVault(home)) {
    throw new CommandError(`there is a vault already: ${home.vault}`, {
      code: "VAULT_EXISTS",
      hint: `if its words are safe, move it away: ${moveAway(home.vault)}`,
    });
  }
  const running = await askNode(home, (node) => node.status()).catch(() => undefined);
  if (running !== undefined) {
    // It would be one node to its peers, and another to the commands of this folder.
    throw new CommandError("a node of this folder runs, with the key that it has now", {
      code: "ALREADY_RUNNING",
      hint: "stop it first, and start it again with the vault: alknet up",
    });
  }
  const config = await loadConfig(home.config);
  if (config.identity !== undefined || !existsSync(home.identity)) return config;
  if (!replaceIdentity) {
    throw new CommandError(
      `this node has a key already: ${home.identity}; with a vault it gets another`,
      {
        code: "IDENTITY_EXISTS",
        hint: "if that is meant: the same with --replace-identity; it says then what peers have to do",
      },
    );
  }
  const before = keptIdentity(home.identity);
  if (existsSync(before)) {
    throw new CommandError(`there is a key of an earlier node: ${before}`, {
      code: "IDENTITY_EXISTS",
      hint: `move it away: ${moveAway(before)}`,
    });
  }
  return config;
}

function moveAway(path: string): string {
  return `mv ${shellWord(path)} ${shellWord(`${path}.old`)}`;
}

function keptIdentity(identity: string): string {
  return `${identity}.before-vault`;
}

async function readPassphrases(
  context: Context,
  { bip39Passphrase, passphraseStdin }: MakeVaultOptions,
): Promise<Passphrases & Disposable> {
  using reading = new DisposableStack();
  const passphrase = reading.adopt(await readNewPassphrase(context, { passphraseStdin }), wipe);
  const bip39 = bip39Passphrase
    ? await readNewPassphrase(context, { passphraseStdin }, "BIP39 passphrase of the words")
    : new Uint8Array();
  reading.adopt(bip39, wipe);
  const secrets = reading.move();
  return { passphrase, bip39, [Symbol.dispose]: () => secrets.dispose() };
}

/** From stdin, to its end; or typed, until they are right. The caller wipes it. */
async function readEntropy(context: Context): Promise<Uint8Array> {
  if (!context.input.isTerminal) {
    const phrase = await context.input.rest(MAX_PHRASE);
    try {
      return parseMnemonic(phrase);
    } finally {
      wipe(phrase);
    }
  }
  using tty = await context.openTty();
  if (tty === undefined)
    throw noTerminal("for the words", "pipe them in: alknet vault import < FILE");
  for (let attempt = 1; ; attempt++) {
    const phrase = await readWords(tty);
    try {
      return parseMnemonic(phrase);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      say(context.terminal, `${(error as Error).message}. Once more:`);
    } finally {
      wipe(phrase);
    }
  }
}

/** Show the words, and see that they were written down. */
async function handOver({ openTty, terminal }: Context, phrase: Uint8Array): Promise<void> {
  using tty = await openTty();
  if (tty === undefined) {
    throw noTerminal("what the words are", "print them on stdout: --force --no-check");
  }
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    await showWords(tty, phrase, ADVICE);
    if (await askWordsBack(tty, phrase)) return;
    say(terminal, "That was another word.");
  }
  throw new CommandError("the words were not written down: no vault was made", {
    code: "WORDS_NOT_CHECKED",
  });
}

const ADVICE =
  "Write these words on paper, in this order. Whoever has them is this node;\n" +
  "without them and the vault's file, nobody is.";

async function makeVault(
  context: Context,
  config: Config,
  { entropy, phrase, passphrase, bip39 }: VaultSecrets,
): Promise<MadeVault> {
  const { home } = context;
  using secrets = new DisposableStack();
  const seed = secrets.adopt(seedFromMnemonic(phrase, bip39), wipe);
  using vault = createVault();
  vault.unlockSeed(seed);
  const fingerprint = fingerprintOfPublicKey(vault.publicKey(IDENTITY_PATH));
  const sshHostKey = sshPublicKeyLine(vault.publicKey(SSH_HOST_PATH), "");
  // An agent may hold one that was here before.
  await (await runningVault(context))?.lock();
  using _file = await createVaultFile(
    home.vault,
    { entropy, seed, passphraseUsed: bip39.length > 0, names: [] },
    passphrase,
  );
  const unused = config.identity !== undefined;
  let replaced: string | undefined;
  if (!unused && existsSync(home.identity)) {
    replaced = keptIdentity(home.identity);
    renameSync(home.identity, replaced);
  }
  return { path: home.vault, fingerprint, sshHostKey, replaced, unused };
}

/** @param words to be printed with it; `undefined`: they are known. */
async function tellVault(
  { terminal, home }: Context,
  made: MadeVault,
  { json }: MakeVaultOptions,
  words?: Uint8Array,
): Promise<void> {
  const { path, fingerprint, sshHostKey, replaced, unused } = made;
  const document = { path, fingerprint, sshHostKey, replaced, identityInUse: !unused };
  if (words !== undefined) await printWords(terminal, words, json ? document : undefined);
  else if (json) printJson(terminal, document);
  if (json) return;
  printFields(terminal, [
    ["vault", path],
    ["fingerprint", fingerprint],
    ["SSH host key", sshHostKey],
  ]);
  if (replaced !== undefined) {
    say(terminal, `note: the key that this node had is in ${replaced}. Peers know it by that one;`);
    say(terminal, `  on each of them: alknet peers rotate-key NAME ${fingerprint}`);
  }
  if (unused) {
    say(
      terminal,
      `note: ${home.config} names another key, which goes before: take out identity = …`,
    );
  }
  say(terminal, "Whoever starts the node is asked for the passphrase: alknet up");
  say(terminal, "Where nobody is there to be asked: alknet vault unlock-key add --help");
}

function forceWithoutCheck(): CommandError {
  return new CommandError("--force and --no-check go together: a script that is given the words", {
    code: "USAGE",
    hint: "on a terminal neither is needed: alknet vault create",
    exitCode: ExitCode.USAGE,
  });
}
