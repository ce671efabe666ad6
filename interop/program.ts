/**
 * Programs that a test starts and waits for: by what they print, never by a pause.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

/** Most of a program's output that is kept, in characters; the oldest goes. */
const MAX_OUTPUT = 256 * 1024;

/** How long a program may take to print what is waited for, in milliseconds. A loaded machine is slow. */
const PATIENCE = 60_000;

/** How a program ended. */
export interface Ended {
  /** Exit status; undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs. Disposing it sends SIGTERM, and SIGKILL when that takes too long. */
export interface Program extends AsyncDisposable {
  /** What it has written so far to both, in the order in which it came. */
  readonly output: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly pid: number;
  /**
   * The first match of `pattern` in the output, from `after` on: at once if it is there already.
   *
   * Rejects with all of the output when the program ends first, or after a minute.
   */
  waitFor(pattern: RegExp, options?: { after?: number | undefined }): Promise<RegExpExecArray>;
  readonly ended: Promise<Ended>;
  /** Send a signal, and wait for the end. */
  stop(signal?: NodeJS.Signals): Promise<Ended>;
}

/** Follow a child, whose stdout and stderr are pipes. `name` is for messages. */
export function follow(child: ChildProcess, name: string): Program {
  let output = "";
  const streams = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  let end: Ended | undefined;

  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]?.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-MAX_OUTPUT);
      streams[stream] = (streams[stream] + text).slice(-MAX_OUTPUT);
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    const finish = (status: number | null, signal: NodeJS.Signals | null): void => {
      end = { status: status ?? undefined, signal: signal ?? undefined, ...streams };
      resolve(end);
      for (const listener of listeners) listener();
    };
    child.once("close", finish);
    child.once("error", (error) => {
      streams.stderr += error.message;
      output += error.message;
      // It never ran: there is no "close" to come.
      if (child.pid === undefined) finish(null, null);
    });
  });

  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), PATIENCE / 2);
    const result = await ended;
    clearTimeout(late);
    return result;
  }

  return {
    get output() {
      return output;
    },
    get stdout() {
      return streams.stdout;
    },
    get stderr() {
      return streams.stderr;
    },
    get pid() {
      return child.pid ?? -1;
    },
    ended,
    stop,
    waitFor(pattern, { after = 0 } = {}) {
      return new Promise((resolve, reject) => {
        const settle = (done: () => void): void => {
          clearTimeout(late);
          listeners.delete(look);
          done();
        };
        const fail = (why: string): void => {
          const text = `${name} ${why} without printing ${pattern}; it wrote:\n${output}`;
          settle(() => reject(new Error(text)));
        };
        const look = (): void => {
          const found = pattern.exec(stripVTControlCharacters(output.slice(after)));
          if (found !== null) settle(() => resolve(found));
          else if (end !== undefined) fail(`ended with ${end.signal ?? end.status}`);
        };
        const late = setTimeout(() => fail(`ran for ${PATIENCE} ms`), PATIENCE);
        listeners.add(look);
        look();
      });
    },
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}
