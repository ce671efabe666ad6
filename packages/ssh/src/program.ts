/**
 * Programs that a session runs: with pipes, or on a terminal; each the leader of a session of its own, so that all
 * it has started can be ended with it.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { PassThrough, type Readable, Writable } from "node:stream";

export interface ProgramOptions {
  /** The program and its arguments; the program is looked up in `PATH` of `env`. */
  readonly words: readonly [string, ...string[]];
  /** Folder to start in. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

export type ProgramEnd =
  | { readonly kind: "status"; readonly status: number }
  /** `SIGTERM`, … */
  | { readonly kind: "signal"; readonly signal: string }
  /** It never ran. */
  | { readonly kind: "failed"; readonly error: Error };

export interface Program {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** A terminal has none. */
  readonly stderr: Readable | undefined;
  /** Resolves when the program has ended and its output has been closed. */
  readonly ended: Promise<ProgramEnd>;
  /** Send a signal to its process group. */
  readonly signal: (name: NodeJS.Signals) => void;
  /** End it and all it has started that is still of its session. */
  readonly kill: () => void;
  /** Tell it the size of its window, in characters. */
  readonly resize: (size: WindowSize) => void;
}

export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

export interface TerminalOptions extends ProgramOptions {
  /** `TERM` */
  readonly terminal: string;
  readonly size: WindowSize;
}

/** Run a program with pipes. */
export function runProgram({ words, cwd, env }: ProgramOptions): Program {
  const [file, ...args] = words;
  // `detached` is setsid(2): a session and a process group of its own.
  const child = spawn(file, args, { cwd, env, detached: true, stdio: "pipe" });
  const { promise: ended, resolve } = Promise.withResolvers<ProgramEnd>();
  let isOver = false;
  child.once("error", (error) => {
    if (child.pid === undefined) resolve({ kind: "failed", error });
  });
  child.once("close", (status, signal) => {
    isOver = true;
    if (signal !== null) resolve({ kind: "signal", signal });
    else resolve({ kind: "status", status: status ?? 255 });
  });
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    ended,
    // Its number may be another's once it is over.
    signal: (name) => void (isOver || signalGroup(child.pid, name)),
    kill: () => void (isOver || killSession(child.pid)),
    resize: () => {},
  };
}

/** There are no terminals: the optional package is not installed, or not for this platform. */
export class NoTerminals extends Error {
  override readonly name = "NoTerminals";
  readonly code = "NO_TERMINALS";
}

/**
 * Run a program on a terminal of its own.
 *
 * @throws {NoTerminals} without `@lydell/node-pty`.
 */
export async function runOnTerminal(options: TerminalOptions): Promise<Program> {
  const { spawn: spawnOnTerminal } = await import("@lydell/node-pty").catch((cause: unknown) => {
    throw new NoTerminals("there are no terminals here: install @lydell/node-pty", { cause });
  });
  const { words, cwd, env, terminal, size } = options;
  const [file, ...args] = words;
  const pty = spawnOnTerminal(file, args, {
    name: terminal,
    cols: size.columns,
    rows: size.rows,
    cwd,
    env: { ...env },
    encoding: null,
  });
  const { promise: ended, resolve } = Promise.withResolvers<ProgramEnd>();
  const stdout = new PassThrough();
  // With `encoding: null` these are bytes, whatever the types say.
  pty.onData((data: string | Buffer) => {
    if (!stdout.write(data)) pty.pause();
  });
  stdout.on("drain", () => pty.resume());
  let isOver = false;
  pty.onExit(({ exitCode, signal }) => {
    isOver = true;
    stdout.end();
    if (signal === undefined || signal === 0) resolve({ kind: "status", status: exitCode });
    else resolve({ kind: "signal", signal: signalName(signal) });
  });
  const stdin = new Writable({
    write(data: Buffer, _encoding, done) {
      // Bytes, as above.
      if (!isOver) pty.write(data as unknown as string);
      done();
    },
    final(done) {
      // Nobody types any more: what Ctrl-D would say.
      if (!isOver) pty.write("\x04");
      done();
    },
  });
  return {
    stdin,
    stdout,
    stderr: undefined,
    ended,
    signal: (name) => void (isOver || signalGroup(pty.pid, name)),
    kill: () => void (isOver || killSession(pty.pid)),
    resize: ({ columns, rows }) => void (isOver || pty.resize(columns, rows)),
  };
}

function signalName(number: number): string {
  return Object.entries(constants.signals).find(([, each]) => each === number)?.[0] ?? "SIGKILL";
}

function signalGroup(leader: number | undefined, name: NodeJS.Signals): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, name);
  } catch (error) {
    // They have all ended.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A shell on a terminal gives each job a process group of its own: what they share is the session. */
function killSession(leader: number | undefined): void {
  signalGroup(leader, "SIGKILL");
  if (leader === undefined || process.platform !== "linux") return;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (sessionOf(pid) === leader) tryKill(Number(pid));
  }
}

/** proc_pid_stat(5): the fourth field behind the name of the program, which may have brackets and blanks in it. */
function sessionOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]);
  } catch {
    return undefined;
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
