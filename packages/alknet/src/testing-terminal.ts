/**
 * For tests of what is asked on a terminal: the real program on a pseudo-terminal, and somebody who types.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { TestHome } from "./testing.ts";

/** Runs its arguments on a terminal of their own; what is piped in is typed there, what they print is piped out. */
const ON_TERMINAL =
  "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/** The program on a terminal; disposing kills it. */
export interface TerminalProgram extends AsyncDisposable {
  /** All that was on the terminal, escape sequences included. */
  readonly screen: () => string;
  /**
   * Wait for `text`, after all that was waited for before.
   *
   * @returns what came before it.
   */
  until(text: string): Promise<string>;
  /** Type a line, and Enter. */
  type(line: string): void;
  /** Type keys as they are. */
  press(keys: string): void;
  /** Its exit code. */
  readonly exited: Promise<number>;
}

export interface TerminalOptions {
  /** A shell's redirections of the program, such as `2>/dev/null >file`. */
  readonly redirect?: string | undefined;
  /** As a job in the background of a shell. @default false */
  readonly background?: boolean | undefined;
  /** `TERM` @default "xterm" */
  readonly term?: string | undefined;
}

/** Start the program as `alknet` does, on a terminal. */
export function startOnTerminal(
  { folder }: TestHome,
  args: readonly string[],
  { redirect = "", background = false, term = "xterm" }: TerminalOptions = {},
): TerminalProgram {
  const main = join(import.meta.dirname, "main.ts");
  const command = [process.execPath, "--conditions=@alknet/source", main, ...args];
  const shell = background
    ? ["bash", "-mc", `"$@" ${redirect} & wait $!`, "bash"]
    : ["sh", "-c", `exec "$@" ${redirect}`, "sh"];
  const child = spawn("python3", ["-c", ON_TERMINAL, ...shell, ...command], {
    env: { ...process.env, ALKNET_HOME: folder, NODE_OPTIONS: "", TERM: term },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let screen = "";
  let read = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => (screen += text));
  child.stdin.on("error", () => {});
  let ended = false;
  const exited = once(child, "close").then(([code]) => {
    ended = true;
    return code as number;
  });
  return {
    screen: () => screen,
    async until(text) {
      for (;;) {
        const at = screen.indexOf(text, read);
        if (at >= 0) {
          const before = screen.slice(read, at);
          read = at + text.length;
          return before;
        }
        if (ended) throw new Error(`ended before ${JSON.stringify(text)}:\n${screen}`);
        await Promise.race([once(child.stdout, "data"), exited]);
      }
    },
    type: (line) => void child.stdin.write(`${line}\r`),
    press: (keys) => void child.stdin.write(keys),
    exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
