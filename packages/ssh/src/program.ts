/**
 * Programs that a session runs: with pipes, or on a terminal; each the leader of a session of its own (setsid(2)), so
 * that all it has started can be ended with it.
 *
 * @module
 */

import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { chmod, chown } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { groupId } from "./account-lookup.ts";
import { onlyStdio } from "./program-descriptors.ts";
import { launch, type LaunchOptions, type LaunchTerminal } from "./program-launch.ts";
import {
  killProcesses,
  type Leader,
  MARK,
  signalGroup,
  signalSession,
  startTime,
} from "./program-processes.ts";
import { openTerminal, type TerminalDevice, type WindowSize } from "./terminal-device.ts";
import { endOfInput, sttyWords, type TerminalModes } from "./terminal-modes.ts";

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
  /** Resolves when the program has ended and all its output has been read. */
  readonly ended: Promise<ProgramEnd>;
  /** Send a signal to its process group. */
  readonly signal: (name: NodeJS.Signals) => void;
  /** Hang up: SIGHUP to all that is of its session. What has made a session of its own is none of that. */
  readonly hangUp: () => void;
  /** SIGKILL to all that is of its session. */
  readonly killSession: () => void;
  /** SIGKILL to all that it has started, wherever that has gone. */
  readonly killAll: () => void;
  /** Tell it the size of its window. */
  readonly resize: (size: WindowSize) => void;
}

export interface TerminalOptions extends LaunchOptions {
  /** `TERM` */
  readonly terminal: string;
  readonly size: WindowSize;
  readonly modes: TerminalModes;
}

/** Run a program with pipes. */
export async function runProgram(options: LaunchOptions): Promise<Program> {
  const { child, leader, ended } = await start(options, ["pipe", "pipe", "pipe"]);
  const { stdin, stdout, stderr } = child as ChildProcess & {
    readonly [Stream in "stdin" | "stdout" | "stderr"]: Writable & Readable;
  };
  return {
    stdin,
    stdout,
    stderr,
    ended,
    signal: (name) => signalGroup(leader, name),
    hangUp: () => signalSession(leader, "SIGHUP", "SIGCONT"),
    killSession: () => signalSession(leader, "SIGKILL"),
    killAll: () => killProcesses(leader),
    resize: () => {},
  };
}

/**
 * Run a program on a terminal of its own.
 *
 * @throws {NoTerminals} without `@lydell/node-pty`.
 */
export async function runOnTerminal(options: TerminalOptions): Promise<Program> {
  const { terminal, modes, size, runAs } = options;
  const device = openTerminal(size, endOfInput(modes));
  let started: Started;
  try {
    if (runAs !== undefined) await give(device, runAs.uid);
    const env = { ...options.env, TERM: terminal, SSH_TTY: device.path };
    const place = { device: device.path, modes: sttyWords(modes) };
    // On stderr is what went wrong before it had the terminal.
    started = await start({ ...options, env }, ["ignore", "ignore", "pipe"], place);
  } catch (error) {
    device.close();
    throw error;
  }
  const { child, leader, ended } = started;
  child.stderr?.on("data", (data: Buffer) => device.print(data));
  const over = async (): Promise<ProgramEnd> => {
    const end = await ended;
    device.finish();
    await finished(device.output).catch(() => {});
    return end;
  };
  return {
    stdin: device.input,
    stdout: device.output,
    stderr: undefined,
    ended: over(),
    signal: (name) => signalGroup(leader, name),
    hangUp: () => {
      signalSession(leader, "SIGHUP", "SIGCONT");
      device.close();
    },
    killSession: () => signalSession(leader, "SIGKILL"),
    killAll: () => killProcesses(leader),
    resize: (size) => device.resize(size),
  };
}

interface Started {
  readonly child: ChildProcess;
  readonly leader: Leader;
  /** Resolves when it has ended, and its pipes have been read to their ends. */
  readonly ended: Promise<ProgramEnd>;
}

/** @throws {Error} if it cannot be run. */
async function start(
  options: LaunchOptions,
  stdio: readonly ("pipe" | "ignore")[],
  terminal?: LaunchTerminal,
): Promise<Started> {
  const mark = randomBytes(16).toString("hex");
  const marked = { ...options, env: { ...options.env, [MARK]: mark } };
  const { file, args, argv0, cwd, env } = await launch(marked, terminal);
  const since = startTime();
  const child = spawn(file, args, {
    ...{ argv0, cwd, env },
    // setsid(2): a session and a process group of its own.
    detached: true,
    stdio: onlyStdio(stdio) as StdioOptions,
  });
  const { pid } = child;
  if (pid === undefined) throw await failure(child, file);
  const leader: Leader = { pid, mark, since, hasEnded: false };
  child.once("exit", () => (leader.hasEnded = true));
  return { child, leader, ended: endOf(child) };
}

async function failure(child: ChildProcess, file: string): Promise<Error> {
  const [error] = (await once(child, "error")) as [Error];
  const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
  if (isMissing && file === "setpriv") {
    return new Error("setpriv (util-linux) is missing: nobody can be run as another user", {
      cause: error,
    });
  }
  return error;
}

async function endOf(child: ChildProcess): Promise<ProgramEnd> {
  const [status, signal] = (await once(child, "close")) as [number | null, string | null];
  return signal === null ? { kind: "status", status: status ?? 255 } : { kind: "signal", signal };
}

/** As sshd: the terminal is the user's, and their friends may write to it if there is a group for that. */
async function give({ path }: TerminalDevice, uid: number): Promise<void> {
  const group = await groupId("tty");
  await chown(path, uid, group ?? 0);
  await chmod(path, group === undefined ? 0o600 : 0o620);
}
