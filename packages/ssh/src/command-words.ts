/**
 * Commands as words: what a shell would make of the quotes in one, and no more of a shell than that.
 *
 * A right to `ssh:exec:<pattern>` is a right to run one program with arguments of a shape. The command comes as one
 * text, written for a shell; a shell that read it could be made to run anything. So the quoting is undone here
 * (POSIX.1-2024, XCU §2.2), what only a shell could carry out is refused, and the words are run as they are.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type { Rights } from "@alknet/core/scope";
import { matchGlob, parseGlob } from "@alknet/core/glob";

/** The command needs a shell, or is no command. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code = "COMMAND_INVALID";
}

/** What a shell acts on where nothing quotes it: operators, comments, and patterns for names of files. */
const ACTIVE = /[;&|<>()*?[\]#]/;

/**
 * Undo the quoting of `command`.
 *
 * @returns its words, at least one.
 * @throws {CommandError} for what a shell would act on: unquoted `; & | < > ( ) * ? [ ] #`, a newline or a leading
 *   `~`, and `$` or a backtick anywhere but in single quotes; for a quote that does not end; and for no word at all.
 */
export function commandWords(command: string): string[] {
  if (command.includes("\0")) throw new CommandError("cannot read the command: it has a NUL in it");
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < command.length; at++) {
    const char = command.charAt(at);
    switch (char) {
      case " ":
      case "\t":
        if (word !== undefined) words.push(word);
        word = undefined;
        break;
      case "'": {
        const end = command.indexOf("'", at + 1);
        if (end === -1) throw unended("'");
        word = (word ?? "") + command.slice(at + 1, end);
        at = end;
        break;
      }
      case '"': {
        const quoted = doubleQuoted(command, at + 1);
        word = (word ?? "") + quoted.text;
        at = quoted.end;
        break;
      }
      case "\\": {
        const next = command.charAt(++at);
        if (next === "" || next === "\n") throw unended("\\");
        word = (word ?? "") + literal(next);
        break;
      }
      default:
        if (char === "\n" || ACTIVE.test(char) || (char === "~" && word === undefined)) {
          throw needsShell(char);
        }
        word = (word ?? "") + literal(char);
    }
  }
  if (word !== undefined) words.push(word);
  if (words.length === 0) throw new CommandError("cannot read the command: it is empty");
  return words;
}

/** From behind a double quote: the text, and where the closing quote is. */
function doubleQuoted(command: string, start: number): { text: string; end: number } {
  let text = "";
  for (let at = start; at < command.length; at++) {
    const char = command.charAt(at);
    if (char === '"') return { text, end: at };
    // A backslash stands for itself before all others.
    const escaped = char === "\\" && /["\\$`\n]/.test(command.charAt(at + 1));
    if (!escaped) text += literal(char);
    // A line that goes on: neither is there.
    else if (command.charAt(++at) !== "\n") text += literal(command.charAt(at));
  }
  throw unended('"');
}

/** Refused even behind a backslash: there is no need for it, and a second reader may take the backslash away. */
function literal(char: string): string {
  if (char === "$" || char === "`") throw needsShell(char);
  return char;
}

function needsShell(char: string): CommandError {
  const shown = JSON.stringify(char);
  return new CommandError(`cannot run the command without a shell: it has ${shown} outside quotes`);
}

function unended(quote: string): CommandError {
  return new CommandError(`cannot read the command: a ${quote} in it does not end`);
}

/**
 * Whether `pattern`, of a scope `ssh:exec:<pattern>`, covers a command: one word of the pattern, a glob, for each word.
 * `**` as the last word is any rest, also none.
 */
export function matchCommand(pattern: string, words: readonly string[]): boolean {
  const parts = pattern.split(" ").filter((part) => part !== "");
  const open = parts.at(-1) === "**";
  if (open) parts.pop();
  if (parts.length === 0) return open;
  if (open ? words.length < parts.length : words.length !== parts.length) return false;
  return parts.every((part, at) => matchGlob(parseGlob(part), words[at] ?? ""));
}

/** Whether some `ssh:exec:<pattern>` among `rights` covers a command. The bare `ssh:exec` is a right of its own. */
export function mayRun(rights: Rights, words: readonly string[]): boolean {
  const patterns = rights.actions.get("ssh:exec")?.patterns ?? [];
  return patterns.some((each) => each.kind === "command" && matches(each.text, words));
}

function matches(pattern: string, words: readonly string[]): boolean {
  try {
    return matchCommand(pattern, words);
  } catch {
    // Three asterisks in a row: a pattern that is none grants nothing.
    return false;
  }
}
