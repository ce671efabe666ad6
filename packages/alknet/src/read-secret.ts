/**
 * Asking for what nobody else may see: passphrases, and whether a secret is to be shown.
 *
 * From the terminal, unseen, or from stdin where that was asked for; never from arguments or the environment, which
 * other programs can read.
 *
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import { wipe } from "@alknet/vault/wipe";
import { CommandError, ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";
import { MAX_LINE } from "./hidden-line.ts";
import { say } from "./terminal.ts";

export interface PassphraseFlags {
  /** The passphrase is the first line of stdin. */
  readonly passphraseStdin: boolean;
}

/**
 * Read the passphrase of the vault. The caller wipes it.
 *
 * @throws {CommandError} `NO_TERMINAL`, `PASSPHRASE_EMPTY`
 * @throws {Interrupted}
 */
export async function readPassphrase(
  context: Context,
  { passphraseStdin }: PassphraseFlags,
): Promise<Uint8Array> {
  if (passphraseStdin) return await lineOfStdin(context);
  using tty = await context.openTty();
  if (tty === undefined) throw noPassphrase();
  return notEmpty(await tty.askHidden("Passphrase of the vault: "));
}

/**
 * Have `use` try passphrases: the one of stdin, or up to three that are typed. Each is wiped.
 *
 * @throws as {@linkcode readPassphrase}, and what `use` throws.
 */
export async function tryPassphrases<Result>(
  context: Context,
  flags: PassphraseFlags,
  use: (passphrase: Uint8Array) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    const passphrase = await readPassphrase(context, flags);
    try {
      return await use(passphrase);
    } catch (error) {
      const wrong = (error as { code?: unknown }).code === "VAULT_PASSPHRASE_WRONG";
      if (flags.passphraseStdin || !wrong || attempt === ATTEMPTS) throw error;
      say(context.terminal, "That is not it. Once more:");
    } finally {
      wipe(passphrase);
    }
  }
}

/**
 * Read a passphrase that is to be: on a terminal twice. The caller wipes it.
 *
 * @throws {CommandError} `NO_TERMINAL`, `PASSPHRASE_EMPTY`, `PASSPHRASES_DIFFER`
 * @throws {Interrupted}
 */
export async function readNewPassphrase(
  context: Context,
  { passphraseStdin }: PassphraseFlags,
  prompt = "New passphrase of the vault",
): Promise<Uint8Array> {
  if (passphraseStdin) return await lineOfStdin(context);
  using tty = await context.openTty();
  if (tty === undefined) throw noPassphrase();
  for (let attempt = 1; ; attempt++) {
    const passphrase = notEmpty(await tty.askHidden(`${prompt}: `));
    const again = await tty.askHidden("The same again: ");
    const same = passphrase.length === again.length && timingSafeEqual(passphrase, again);
    wipe(again);
    if (same) {
      if (passphrase.length < SHORT) {
        say(context.terminal, `note: whoever has the file can try many: ${SHORT} letters or more`);
      }
      return passphrase;
    }
    wipe(passphrase);
    if (attempt === ATTEMPTS) {
      throw new CommandError("the two passphrases differ", { code: "PASSPHRASES_DIFFER" });
    }
    say(context.terminal, "They differ. Once more:");
  }
}

/**
 * Ask before a secret is shown, or something is given up.
 *
 * @param force no question.
 * @throws {CommandError} `NOT_CONFIRMED`
 */
export async function confirm(context: Context, question: string, force: boolean): Promise<void> {
  if (force) return;
  using tty = await context.openTty();
  if (tty === undefined) {
    throw noTerminal(`"${question}"`, "if it is meant: the same with --force");
  }
  const answer = Buffer.from(await tty.ask(`${question} [y/N] `)).toString();
  if (/^\s*y(es)?\s*$/i.test(answer)) return;
  throw new CommandError("nothing was done", { code: "NOT_CONFIRMED" });
}

/** Times that a person is asked before it is given up. */
export const ATTEMPTS = 3;

/** A passphrase below this many bytes is told to be short. */
const SHORT = 12;

async function lineOfStdin({ input }: Context): Promise<Uint8Array> {
  return notEmpty((await input.line(MAX_LINE)) ?? new Uint8Array());
}

function notEmpty(passphrase: Uint8Array): Uint8Array {
  if (passphrase.length > 0) return passphrase;
  throw new CommandError("expected a passphrase, got nothing", {
    code: "PASSPHRASE_EMPTY",
    hint: "type it at the terminal; or, with --passphrase-stdin, each on a line of its own of stdin",
  });
}

/** @param what could not be asked. @param hint what to do without a terminal. */
export function noTerminal(what: string, hint: string): CommandError {
  return new CommandError(`cannot ask ${what}: there is no terminal`, {
    code: "NO_TERMINAL",
    hint,
    exitCode: ExitCode.USAGE,
  });
}

function noPassphrase(): CommandError {
  return noTerminal("for the passphrase", "give it as the first line of stdin: --passphrase-stdin");
}
