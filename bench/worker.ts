/**
 * Processes that do a bench's work: they say `READY`, take commands by the line, and answer in JSON.
 *
 * @module
 */

import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { createInterface } from "node:readline";

/** A running process of the bench. Disposing it ends its input, and waits for it to go. */
export interface Worker extends AsyncDisposable {
  /** What it said behind `READY`: an address, or nothing. */
  readonly ready: string;
  readonly pid: number;
  /**
   * Give it a command, and wait for the answer. One at a time.
   *
   * @throws {Error} if it ends instead, with what it wrote to stderr
   */
  ask<Answer>(command: string): Promise<Answer>;
}

/** What every command that is timed answers with. */
export interface Timed {
  seconds: number;
  /** Processor time of the asked process, in seconds. */
  cpu: number;
}

/** How a process is started: that of `node:child_process`, or one in a network namespace. */
export type Spawn = (
  command: string,
  words: readonly string[],
  options: SpawnOptions,
) => ChildProcess;

export interface WorkerOptions {
  spawn?: Spawn | undefined;
  /** Added to the environment. */
  env?: Readonly<Record<string, string>> | undefined;
  /** What a line says about being ready; undefined: not yet. @default what is behind `READY` */
  isReady?: ((line: string) => string | undefined) | undefined;
}

function afterReady(line: string): string | undefined {
  return line.startsWith("READY") ? line.slice("READY".length).trim() : undefined;
}

const ANSWER_WITHIN = 120_000;

/** Start a process, and wait until it is ready. It ends when this process does. */
export async function startWorker(
  command: string,
  words: readonly string[],
  options: WorkerOptions = {},
): Promise<Worker> {
  const { isReady = afterReady, env } = options;
  const child = (options.spawn ?? spawn)(command, words, {
    stdio: ["pipe", "pipe", "pipe"],
    ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
  });
  killAtExit(child);
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new TypeError("expected pipes");
  let errors = "";
  stderr.setEncoding("utf8").on("data", (text: string) => {
    // The end of it says why; the beginning may be pages of warnings.
    errors = (errors + text).slice(-4_000);
  });
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (status, signal) => resolve(`it ended with ${status ?? signal}`));
  });
  // What it did not read is no news: that it ended is.
  stdin.on("error", () => {});
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) {
      throw new Error(`${command} ${words.join(" ")}: ${await ended}\n${errors.trim()}`);
    }
    return value;
  };

  for (;;) {
    const ready = isReady(await next());
    if (ready === undefined) continue;
    return {
      ready,
      pid: child.pid ?? -1,
      async ask<Answer>(text: string): Promise<Answer> {
        stdin.write(`${text}\n`);
        // A bench that hangs should say where.
        const giveUp = setTimeout(() => {
          errors += `\nno answer to "${text}" in ${ANSWER_WITHIN / 1000} s`;
          child.kill("SIGKILL");
        }, ANSWER_WITHIN);
        try {
          // Both ends are ours, and change together.
          return JSON.parse(await next()) as Answer;
        } finally {
          clearTimeout(giveUp);
        }
      },
      async [Symbol.asyncDispose]() {
        stdin.end();
        // Programs that are no workers of ours do not look at their input.
        if (isReady !== afterReady) child.kill();
        const giveUp = setTimeout(() => child.kill("SIGKILL"), 3_000);
        await ended;
        clearTimeout(giveUp);
      },
    };
  }
}

const children = new Set<ChildProcess>();

/** Whatever way this process ends, `child` must not stay. */
export function killAtExit(child: ChildProcess): void {
  if (children.size === 0) process.once("exit", () => children.forEach((each) => each.kill()));
  children.add(child);
}

/** Start a TypeScript file under the Node that runs us. */
export function startNode(
  file: URL,
  words: readonly string[],
  options: { spawn?: Spawn | undefined } = {},
): Promise<Worker> {
  // gc: to tell what is held from what is merely not collected yet.
  const flags = ["--conditions=@alknet/source", "--expose-gc", "--no-warnings"];
  return startWorker(process.execPath, [...flags, file.pathname, ...words], options);
}
