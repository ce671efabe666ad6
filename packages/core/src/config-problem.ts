/**
 * What is wrong in a configuration, and where: for people with the line itself and a caret, for programs as data.
 *
 * ```text
 * alknet.toml:2:1: unknown key "lisen": expected one of "name", "listen", …; did you mean "listen"?
 *   2 | lisen = "[::]:7433"
 *     | ^
 * ```
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import type { Position, TomlPath } from "./toml-positions.ts";

/** One thing that is wrong. */
export interface ConfigProblem extends Position {
  /** What was found, what was expected, and what was probably meant. */
  readonly message: string;
  /** `peers.laptop.scopes[1]`; `undefined`: the file as a whole. */
  readonly key: string | undefined;
  /** The line, or what of it is around the column; safe to print. `undefined`: there is none. */
  readonly excerpt: { readonly text: string; readonly caret: number } | undefined;
}

/** More are counted and not told: who has so many starts at the first. */
export const MAX_PROBLEMS: number = 20;

/** The configuration cannot be used. The one in use stays. */
export class ConfigInvalid extends Error {
  override readonly name = "ConfigInvalid";
  readonly code = "CONFIG_INVALID";
  readonly path: string;
  /** In the order of the file; at least one, at most {@linkcode MAX_PROBLEMS}. */
  readonly problems: readonly ConfigProblem[];

  constructor(path: string, problems: readonly ConfigProblem[], options?: ErrorOptions) {
    const [first] = problems;
    super(`${path}:${first!.line}:${first!.column}: ${first!.message}`, options);
    this.path = path;
    this.problems = problems;
  }

  /** Of the first problem; both count from 1. */
  get line(): number {
    return this.problems[0]!.line;
  }

  get column(): number {
    return this.problems[0]!.column;
  }

  /** All problems, each with its line and a caret. Several lines. */
  get report(): string {
    return this.problems.map((each) => describeProblem(this.path, each)).join("\n");
  }
}

/** One problem as a compiler would say it. */
export function describeProblem(path: string, problem: ConfigProblem): string {
  const { line, column, message, excerpt } = problem;
  const head = `${path}:${line}:${column}: ${message}`;
  if (excerpt === undefined) return head;
  const number = String(line);
  // A tab is as wide as the one above it.
  const before = excerpt.text.slice(0, excerpt.caret).replaceAll(/[^\t]/gu, " ");
  return `${head}\n  ${number} | ${excerpt.text}\n  ${" ".repeat(number.length)} | ${before}^`;
}

/** A problem at `position` of `text`. */
export function problemAt(
  text: string,
  position: Position,
  path: TomlPath | undefined,
  message: string,
): ConfigProblem {
  const { line, column } = position;
  const key = path === undefined || path.length === 0 ? undefined : formatTomlPath(path);
  return { line, column, message, key, excerpt: excerptAt(text, position) };
}

/** `peers."old phone".scopes[1]` */
export function formatTomlPath(path: TomlPath): string {
  return path
    .map((each, index) => {
      if (typeof each === "number") return `[${each}]`;
      const name = /^[A-Za-z0-9_-]+$/.test(each) ? each : JSON.stringify(each);
      return index === 0 ? name : `.${name}`;
    })
    .join("");
}

/** Code units of a line that are shown on each side of the column. */
const AROUND = 70;

function excerptAt(text: string, { line, column }: Position): ConfigProblem["excerpt"] {
  const whole = masked(lineOf(text, line));
  if (whole === undefined || whole.trim() === "") return undefined;
  const at = Math.min(column - 1, whole.length);
  const from = whole.length <= 2 * AROUND ? 0 : Math.max(0, at - AROUND);
  const to = whole.length <= 2 * AROUND ? whole.length : Math.min(whole.length, at + AROUND);
  const head = from > 0 ? "…" : "";
  // Neither escapes nor marks that turn the direction of writing reach a terminal.
  const shown = (part: string): string =>
    part.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (it) =>
      it === "\t" ? it : "\ufffd".repeat(it.length),
    );
  const before = head + shown(whole.slice(from, at));
  const after = shown(whole.slice(at, to)) + (to < whole.length ? "…" : "");
  return { text: before + after, caret: before.length };
}

/** What is shown may be logged: the password of a URL is not shown, and takes as much room. */
function masked(line: string | undefined): string | undefined {
  const stars = (_: string, head: string, password: string): string =>
    head + "*".repeat(password.length);
  return line
    ?.replaceAll(/(:\/\/[^\s"':@/?]*:)([^\s"']*)(?=@)/g, stars)
    .replaceAll(/([?&]password=)([^\s"'&]*)/gi, stars);
}

/** Line `number`, from 1, without its end. */
function lineOf(text: string, number: number): string | undefined {
  let start = 0;
  for (let line = 1; line < number; line++) {
    const end = text.indexOf("\n", start);
    if (end < 0) return undefined;
    start = end + 1;
  }
  const end = text.indexOf("\n", start);
  return text.slice(start, end < 0 ? undefined : end).replace(/\r$/, "");
}
