/**
 * The commands about the vault: `alknet vault`.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import type { MakeCommand } from "./cli-peers.ts";
import type { AgentOptions } from "./commands/vault-agent.ts";
import type { NamedKeyOptions, KeyOptions, SshKeyOptions } from "./commands/vault-keys.ts";
import type { UnlockOptions } from "./commands/vault-lock.ts";
import type { CreateVaultOptions, MakeVaultOptions } from "./commands/vault-make.ts";
import type { VaultRotateOptions } from "./commands/vault-rotate.ts";
import type { DecryptOptions, EncryptOptions } from "./commands/vault-seal.ts";
import type { AddUnlockKeyOptions } from "./commands/vault-unlock-key.ts";
import type { Context } from "./context.ts";
import type { PassphraseFlags } from "./read-secret.ts";

interface Json {
  readonly json: boolean;
}

type Flags = Json & PassphraseFlags;

/** Of `--passphrase-stdin`, for commands that open the vault. */
export const PASSPHRASE_STDIN = "the vault's passphrase is the first line of stdin";
const LOCK_AFTER = "lock it after this time without use: 8h, or never";
const BOUND = "what it is bound to; decrypt wants the same";

export function addVaultCommands(context: Context, command: MakeCommand): void {
  const status = async (options: Json) =>
    await (await import("./commands/vault-status.ts")).vaultStatus(context, options);
  const vault = command("vault", "one seed for every key, locked when you leave").action(status);
  const inVault = (name: string, description: string, parent: Command = vault) =>
    command(name, description, parent).option("--passphrase-stdin", PASSPHRASE_STDIN, false);

  addMakeCommands(context, inVault);
  addLockCommands(context, command, inVault, vault);
  command("status", "whether it is locked, and what opens it (also: alknet vault)", vault).action(
    status,
  );
  addFileCommands(context, inVault);
  addUnlockKeyCommands(context, command, inVault, vault);
  addKeyCommands(context, inVault);
  addSealCommands(context, inVault);
}

/** Makes a command that may want the passphrase. */
type MakeVaultCommand = (name: string, description: string, parent?: Command) => Command;

function addMakeCommands(context: Context, inVault: MakeVaultCommand): void {
  const load = () => import("./commands/vault-make.ts");

  withMakeOptions(inVault("create", "make a vault from new words, which are shown once"))
    .option("--words <n>", "how many: 12, 15, 18, 21 or 24", wordCountOf, 24)
    .option("--force", "print the words on stdout, for a script", false)
    .option("--no-check", "do not ask words back; with --force only")
    .action(
      async (options: CreateVaultOptions) =>
        await (await load()).createVaultCommand(context, options),
    );

  withMakeOptions(
    inVault("import", "bring a vault back from its words: typed, or by stdin"),
  ).action(
    async (options: MakeVaultOptions) => await (await load()).importVaultCommand(context, options),
  );
}

function withMakeOptions(made: Command): Command {
  return made
    .option("--bip39-passphrase", "the words have one of their own, the next line of stdin", false)
    .option("--replace-identity", "the node takes the vault's key in place of its own", false);
}

function addLockCommands(
  context: Context,
  command: MakeCommand,
  inVault: MakeVaultCommand,
  vault: Command,
): void {
  const load = () => import("./commands/vault-lock.ts");

  inVault("unlock", "have the agent open it; without an agent, one is started")
    .option("--lock-after <time>", LOCK_AFTER)
    .action(async (options: UnlockOptions) => await (await load()).unlockCommand(context, options));

  command("lock", "have the agent forget it, with all keys", vault).action(
    async (options: Json) => await (await load()).lockCommand(context, options),
  );

  command("agent", "hold it for other programs, and be an SSH agent", vault)
    .option("--background", "and go on there; prints what a shell is to evaluate", false)
    .option("--lock-after <time>", LOCK_AFTER)
    .option("--stop", "end the one that runs", false)
    .addOption(
      new Option("--shell <shell>", "whose words to print")
        .choices(["sh", "csh", "fish"])
        .default("sh"),
    )
    .action(
      async (options: AgentOptions) =>
        await (await import("./commands/vault-agent.ts")).agentCommand(context, options),
    );
}

function addFileCommands(context: Context, inVault: MakeVaultCommand): void {
  const load = () => import("./commands/vault-file.ts");

  inVault("show-words", "show the words, on a screen that is wiped")
    .option("--force", "print them on stdout", false)
    .action(
      async (options: Flags & { force: boolean }) =>
        await (await load()).showWordsCommand(context, options),
    );

  inVault("passwd", "change the passphrase; the new one is the next line of stdin").action(
    async (options: Flags) => await (await load()).passwdCommand(context, options),
  );
}

function addUnlockKeyCommands(
  context: Context,
  command: MakeCommand,
  inVault: MakeVaultCommand,
  vault: Command,
): void {
  const load = () => import("./commands/vault-unlock-key.ts");
  const list = async (options: Json) => (await load()).listUnlockKeys(context, options);
  const group = command("unlock-key", "keys that open it where nobody is there", vault).action(
    list,
  );

  inVault("add", "make one", group)
    .option("--file <file>", "into a new file")
    .option("--keyring", "into the keyring of this system", false)
    .option("--stdout", "print it, as for systemd-creds encrypt", false)
    .option("--label <name>", "what it is called (default: boot, or keyring)")
    .action(
      async (options: AddUnlockKeyOptions) => await (await load()).addUnlockKey(context, options),
    );

  command("list", "which there are (also: alknet vault unlock-key)", group).action(list);

  inVault("remove", "have it open the vault no more", group)
    .argument("<label>")
    .action(
      async (label: string, options: Flags) =>
        await (await load()).removeUnlockKey(context, label, options),
    );
}

function addKeyCommands(context: Context, inVault: MakeVaultCommand): void {
  const load = () => import("./commands/vault-keys.ts");
  const forKey = (name: string, description: string) =>
    inVault(name, description)
      .option("--private", "print the private key; takes the passphrase", false)
      .option("--force", "do so without a question", false)
      .addOption(
        new Option(
          "-o, --output <file>",
          "the private key, into a new file for its owner alone",
        ).implies({ private: true }),
      );
  const forNamed = (name: string, description: string) =>
    forKey(name, description).option("--name <name>", "which of them", "default");

  forKey("derive", "the Ed25519 key of a path, in hex")
    .argument("<path>", "as m/74'/0'/0'/1', or identity or ssh-host")
    .action(
      async (path: string, options: KeyOptions) =>
        await (await load()).deriveCommand(context, path, options),
    );

  forNamed("ssh-key", "a key for ssh and git: its public line; the agent has it from then on")
    .option("--confirm", "the agent asks before each use")
    .option("--no-confirm", "the agent does not ask")
    .option("--forget", "the agent offers it no more", false)
    .action(async (options: SshKeyOptions) => await (await load()).sshKeyCommand(context, options));

  forNamed("age-key", "a key for age: its recipient, or with --private its identity").action(
    async (options: NamedKeyOptions) => await (await load()).ageKeyCommand(context, options),
  );

  forNamed("pkarr-key", "a key for pkarr: its public key").action(
    async (options: NamedKeyOptions) => await (await load()).pkarrKeyCommand(context, options),
  );
}

function addSealCommands(context: Context, inVault: MakeVaultCommand): void {
  const load = () => import("./commands/vault-seal.ts");

  inVault("encrypt", "seal what comes by stdin; prints JSON")
    .option("--context <text>", BOUND)
    .option("--key-version <n>", "of the key (default: the current one)", keyVersionOf)
    .action(
      async (options: EncryptOptions) => await (await load()).encryptCommand(context, options),
    );

  inVault("decrypt", "open what encrypt has printed, from stdin")
    .option("--context <text>", "what it was bound to")
    .option("--force", "print to a terminal, too", false)
    .action(
      async (options: DecryptOptions) => await (await load()).decryptCommand(context, options),
    );

  inVault("rotate", "seal all credentials of this node under a new key")
    .option("--to <version>", "of the key (default: the one after the newest)", keyVersionOf)
    .action(
      async (options: VaultRotateOptions) =>
        await (await import("./commands/vault-rotate.ts")).vaultRotate(context, options),
    );
}

function wordCountOf(text: string): number {
  if (["12", "15", "18", "21", "24"].includes(text)) return Number(text);
  throw new InvalidArgumentError("expected 12, 15, 18, 21 or 24.");
}

function keyVersionOf(text: string): number {
  const version = /^[0-9]{1,10}$/.test(text) ? Number(text) : 0;
  if (version >= 2) return version;
  throw new InvalidArgumentError("expected 2 or more.");
}
