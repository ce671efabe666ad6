/**
 * Programs in processes of their own: for what ends, or kills, a process. Tests only.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

/** What a program begins with. */
const IMPORTS = `
import { bind } from "./endpoint.ts";
import { native } from "./native.ts";
import { clientTls, dial, LOOPBACK, pair, serve } from "./test-identity.ts";
const say = (value: unknown): void => { process.stdout.write(JSON.stringify(value) + "\\n"); };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
`;

export interface Child extends AsyncDisposable {
  readonly process: ChildProcess;
  /** The next line it says, parsed; `undefined` at its end. */
  said(): Promise<unknown>;
  /** How it ended, and what it wrote to stderr. */
  readonly ended: Promise<{ status: number | null; signal: string | null; stderr: string }>;
}

/**
 * Start a TypeScript program in the folder of the sources.
 *
 * @param flags of Node, e.g. `--expose-gc`
 */
export function start(
  program: string,
  flags: readonly string[] = [],
  head: string = IMPORTS,
): Child {
  const child = spawn(
    process.execPath,
    [
      "--conditions=@alknet/source",
      ...flags,
      "--input-type=module-typescript",
      "-e",
      head + program,
    ],
    {
      cwd: import.meta.dirname,
      stdio: ["pipe", "pipe", "pipe"],
      // A test's own preloads are not the program's.
      env: { ...process.env, NODE_OPTIONS: "", NODE_TEST_CONTEXT: undefined },
    },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const errors = text(child.stderr);
  const closed = once(child, "close") as Promise<[number | null, string | null]>;
  return {
    process: child,
    async said() {
      const { value, done } = await lines.next();
      return done === true ? undefined : (JSON.parse(value) as unknown);
    },
    ended: Promise.all([closed, errors]).then(([[status, signal], stderr]) => ({
      status,
      signal,
      stderr,
    })),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Run a program to its end. */
export async function run(
  program: string,
  flags: readonly string[] = [],
  head: string = IMPORTS,
): Promise<{ status: number | null; signal: string | null; stderr: string; said: unknown[] }> {
  const child = start(program, flags, head);
  const said: unknown[] = [];
  for (let line = await child.said(); line !== undefined; line = await child.said())
    said.push(line);
  return { ...(await child.ended), said };
}
