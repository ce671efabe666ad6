/**
 * `alknet ssh-config`: have `ssh`, and all that runs it, find peers by their names.
 *
 * What `ssh` has to know stands in a file of ours; into the user's file goes no more than what includes it.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { userInfo } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { makeKnownHosts, SUFFIX } from "../known-hosts.ts";
import { shellWord } from "../shell-word.ts";
import { sshConfigText, withInclude, withoutInclude } from "../ssh-config-text.ts";
import { sshFiles } from "../ssh-files.ts";
import { printJson, say } from "../terminal.ts";

export interface SshConfigOptions {
  readonly json: boolean;
  readonly install: boolean;
  readonly remove: boolean;
  /** The user's own file. @default `~/.ssh/config`, as `ssh` finds it */
  readonly file?: string | undefined;
}

export async function sshConfig(context: Context, options: SshConfigOptions): Promise<void> {
  const { json, install, remove } = options;
  const { terminal } = context;
  // Not $HOME: ssh does not ask for it.
  const file = resolve(options.file ?? join(userInfo().homedir, ".ssh", "config"));
  const own = sshFiles(context.home);
  const text = sshConfigText({
    program: context.program,
    env: ownEnvironment(),
    knownHosts: own.knownHosts,
    cat: catPath(),
  });
  const before = readConfig(file);
  const installed = remove ? false : install || withoutInclude(before ?? "") !== (before ?? "");
  if (install) {
    makeKnownHosts(own.knownHosts);
    replaceFile(own.config, text, 0o600);
    writeConfig(
      file,
      before,
      withInclude(before ?? "", Buffer.from(own.config).toString("latin1")),
    );
  }
  if (remove) {
    if (before !== undefined) removeInclude(file, before);
    fs.rmSync(own.config, { force: true });
  }
  if (json) printJson(terminal, { text, file, include: own.config, installed });
  else if (install) {
    say(terminal, `${file} includes ${own.config} now. Peers have names: ssh laptop${SUFFIX}`);
  } else if (remove) say(terminal, `${file} is without it`);
  else {
    terminal.data.write(text);
    if (terminal.words.isTerminal)
      say(terminal, "to have ssh use this: alknet ssh-config --install");
  }
}

/** What says which node is meant: `ssh` may be started from anywhere. */
function ownEnvironment(): Record<string, string> {
  const { ALKNET_HOME: home } = process.env;
  return home ? { ALKNET_HOME: home } : {};
}

function catPath(): string {
  const folders = ["/bin", "/usr/bin", ...(process.env["PATH"] ?? "").split(delimiter)];
  const paths = folders.map((folder) => join(folder, "cat"));
  return paths.find((path) => fs.existsSync(path)) ?? "/bin/cat";
}

/** `undefined`: there is none. */
function readConfig(file: string): string | undefined {
  try {
    // One character for each byte: what is not UTF-8 stays as it is, too.
    return fs.readFileSync(file, "latin1");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unusable(file, "read", error as Error);
  }
}

/** @throws {CommandError} `SSH_CONFIG_UNUSABLE`; the file is as it was then. */
function writeConfig(file: string, before: string | undefined, after: string): void {
  if (after === before) return;
  try {
    if (before === undefined) fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const target = targetOf(file);
    const stat = fs.statSync(target, { throwIfNoEntry: false });
    // Whoever has taken the right to write it away has meant it: its folder would let us replace it all the same.
    if (stat !== undefined && (stat.mode & 0o200) === 0) throw new Error("it is read-only");
    if (stat !== undefined) fs.accessSync(target, fs.constants.W_OK);
    replaceFile(target, Buffer.from(after, "latin1"), (stat?.mode ?? 0o600) & 0o777);
  } catch (error) {
    throw unusable(file, "write", error as Error);
  }
}

/** What had nothing but our lines goes with them. */
function removeInclude(file: string, before: string): void {
  const after = withoutInclude(before);
  writeConfig(file, before, after);
  if (after === "" && before !== "" && targetOf(file) === file) fs.rmSync(file);
}

/** The file that a link leads to, if it is one: it may not be there yet. */
function targetOf(file: string): string {
  const link = fs.lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return link ? targetOf(resolve(dirname(file), fs.readlinkSync(file))) : file;
}

/** Whole or not at all. */
function replaceFile(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    fs.writeFileSync(temporary, content, { flag: "wx", mode, flush: true });
    // The umask has had its say.
    fs.chmodSync(temporary, mode);
    fs.renameSync(temporary, path);
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

function unusable(file: string, verb: string, cause: Error): CommandError {
  return new CommandError(`cannot ${verb} ${file}: ${cause.message}`, {
    code: "SSH_CONFIG_UNUSABLE",
    hint: `look who may ${verb} it: ls -l ${shellWord(file)}; or put what alknet ssh-config prints there yourself`,
    cause,
  });
}
