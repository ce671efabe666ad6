/**
 * A machine with Alknet on it: a namespace, a home folder, and the command line as people use it.
 *
 * Nothing is shared with the process of the test but the sources: what a machine knows of another one, the
 * test has carried there as a person would.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Namespace } from "./netns.ts";
import { type Ended, follow, type Program } from "./program.ts";

const MAIN = fileURLToPath(new URL("../packages/alknet/src/main.ts", import.meta.url));

/** A program on a terminal. */
export interface TerminalProgram extends Program {
  /** Press Ctrl-C. */
  interrupt(): void;
}

/** Whose `ALKNET_HOME` it is, and where it runs. Disposing it removes the folder. */
export interface Machine extends Disposable {
  readonly namespace: Namespace;
  /** `ALKNET_HOME`. */
  readonly home: string;
  /** Write `alknet.toml`. */
  configure(toml: string): void;
  /** Start `alknet WORDS`. Who starts it stops it. */
  start(...words: string[]): Program;
  /** Start `alknet WORDS` on a terminal, as people see it. */
  startOnTerminal(...words: string[]): TerminalProgram;
  /** Run `alknet WORDS` to its end, whatever that is. */
  run(...words: string[]): Promise<Ended>;
  /** Start a stock command, e.g. `curl`. */
  command(command: string, ...words: string[]): Program;
  /** The same with stdout and stderr as pipes that the test reads. */
  spawn(command: string, words: readonly string[]): ChildProcess;
}

/** Set up a machine in `namespace`. Two in one namespace are two users of it. */
export function createMachine(namespace: Namespace): Machine {
  const home = mkdtempSync(join(tmpdir(), "alknet-home-"));
  const remove = (): void => rmSync(home, { recursive: true, force: true });
  return { ...machineWith(namespace, home), [Symbol.dispose]: remove };
}

/** The same machine, carried into another network. The folder stays with the first. */
export function carriedTo(namespace: Namespace, { home }: Machine): Machine {
  return { ...machineWith(namespace, home), [Symbol.dispose]: () => {} };
}

function machineWith(namespace: Namespace, home: string): Omit<Machine, typeof Symbol.dispose> {
  // What the test's own process was told (by node:test, or by npm) is not for them.
  const { PATH, LANG, ALKNET_QUIC_ADDON } = process.env;
  const env = { PATH, LANG, ALKNET_QUIC_ADDON, HOME: home, ALKNET_HOME: home, TMPDIR: home };
  const spawn = (
    name: string,
    words: readonly string[],
    stdin: "ignore" | "pipe" = "ignore",
  ): ChildProcess =>
    namespace.spawn(name, words, { cwd: home, env, stdio: [stdin, "pipe", "pipe"] });
  const command = (name: string, words: readonly string[]): Program =>
    follow(spawn(name, words), [name, ...words].join(" "));
  const alknet = (words: readonly string[]): string[] => [
    process.execPath,
    "--conditions=@alknet/source",
    MAIN,
    ...words,
  ];
  const start = (...words: string[]): Program => {
    const [node = "", ...rest] = alknet(words);
    return command(node, rest);
  };
  return {
    namespace,
    home,
    start,
    startOnTerminal(...words) {
      // bsdutils' `script` has a pseudo-terminal to lend; none of our words needs quoting.
      // Without "exec" it would be the shell that Ctrl-C ends.
      const line = `exec ${alknet(words).join(" ")}`;
      const child = spawn("script", ["-qefc", line, "/dev/null"], "pipe");
      const interrupt = (): void => void child.stdin?.write("\x03");
      return Object.assign(follow(child, line), { interrupt });
    },
    run: (...words) => start(...words).ended,
    command: (name, ...words) => command(name, words),
    spawn: (name, words) => spawn(name, words),
    configure: (toml) => writeFileSync(join(home, "alknet.toml"), toml),
  };
}
