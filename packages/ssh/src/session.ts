/**
 * Session channels (RFC 4254 §6): one command or shell each, with its environment, terminal and signals.
 *
 * What runs stands on a right that is held while it runs: taking that back ends the program, with all that it has
 * started, and no other session.
 *
 * @module
 */

import { once } from "node:events";
import { basename } from "node:path";
import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { AccessDenied, type AuthContext, type Grant } from "@alknet/core/access";
import type { Clock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import { compileScopes } from "@alknet/core/scope";
import { matchGlob, parseGlob } from "@alknet/core/glob";
import type { Logger } from "@alknet/core/log";
import type { ServerChannel, Session } from "ssh2";
import type { Account } from "./account.ts";
import { commandWords, mayRun } from "./command-words.ts";
import { passOn, shortTurns } from "./pass-on.ts";
import { type Program, type ProgramEnd, runOnTerminal, runProgram } from "./program.ts";
import type { LaunchOptions } from "./program-launch.ts";
import type { Recorder, SessionRecorder } from "./recording.ts";
import type { SessionStatus } from "./session-status.ts";
import type { ExtendedClient } from "./ssh2-extension/extend.ts";
import { requestedModes } from "./ssh2-extension/terminal.ts";
import { type Subsystem, subsystemOf, type Subsystems } from "./subsystem.ts";
import type { WindowSize } from "./terminal-device.ts";
import type { TerminalModes } from "./terminal-modes.ts";

export interface SessionContext {
  readonly auth: AuthContext;
  readonly account: Account;
  readonly client: ExtendedClient;
  /** Variables that a client may set; `*` stands for any run of characters. */
  readonly acceptEnv: readonly string[];
  /** Variables for a program that begins, which a client cannot change. */
  readonly env: () => Readonly<Record<string, string>>;
  readonly subsystems: Subsystems;
  /** `address:port` */
  readonly remoteAddress: string | undefined;
  /** @default nothing is recorded */
  readonly recorder?: Recorder | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts when the connection is gone. */
  readonly gone: AbortSignal;
  /** Hears of what was refused. */
  onrefused(reason: string, scope: string | undefined): void;
  /** Send a message to who wants details. */
  tell(text: string): void;
  /** Count a program that begins. @returns what to call at its end; `undefined`: there are too many. */
  begin(status: SessionStatus): (() => void) | undefined;
  /** Hears of the channel of the program, before that begins. */
  onchannel(channel: ServerChannel): void;
}

/** Most variables that a client may set, and most characters of one, name and value together. */
const MAX_VARIABLES = 64;
const MAX_VARIABLE = 8_192;
/** Largest window of a terminal, in characters each way. */
const MAX_SIDE = 4_096;
/** How long programs may take to end by themselves when their connection has gone, in milliseconds. */
const HANG_UP_TIME = 3_000;
/** In the place of a shell: whose account has one may do nothing here, not even without a shell. */
const CLOSED_SHELLS: readonly string[] = ["nologin", "false"];
/** Signals that RFC 4254 §6.10 has names for. */
const SIGNALS: readonly string[] = [
  ...["ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM"],
  ...["USR1", "USR2"],
];
const PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/** What is to be run, and the right that it stands on. */
interface Work extends Pick<LaunchOptions, "words" | "login"> {
  readonly grant: Grant;
}

interface Terminal {
  readonly name: string;
  readonly modes: TerminalModes;
  size: WindowSize;
}

/** Serve a session until it is closed. Requests that are not listened to here are refused by ssh2. */
export function serveSession(session: Session, context: SessionContext): void {
  const { account, auth, client } = context;
  const variables = new Map<string, string>();
  let terminal: Terminal | undefined;
  let program: Program | undefined;
  let recording: SessionRecorder | undefined;
  const closed = new AbortController();
  session.once("close", () => closed.abort());

  session.on("env", (accept, reject, { key, val }) => {
    const name = String(key);
    const value = String(val);
    const fits = variables.size < MAX_VARIABLES && name.length + value.length <= MAX_VARIABLE;
    if (!fits || value.includes("\0") || !isAccepted(name, context.acceptEnv)) return reject?.();
    variables.set(name, value);
    accept?.();
  });
  session.on("pty", (accept, reject, info) => {
    const name = (info as { term?: unknown }).term;
    if (typeof name !== "string" || !/^[\w.+-]{0,64}$/.test(name)) return reject?.();
    terminal = { name: name === "" ? "dumb" : name, size: sizeOf(info), modes: requestedModes() };
    accept?.();
  });
  session.on("window-change", (accept, _reject, info) => {
    if (terminal !== undefined) terminal.size = sizeOf(info);
    program?.resize(sizeOf(info));
    recording?.resize(sizeOf(info));
    accept?.();
  });
  session.on("signal", (accept, reject, { name }) => {
    if (program === undefined || !SIGNALS.includes(name)) return reject?.();
    program.signal(`SIG${name}` as NodeJS.Signals);
    accept?.();
  });
  session.on("shell", (accept) => {
    start(take(accept), undefined, () => {
      return { words: [account.shell], login: true, grant: auth.grant("ssh:shell") };
    });
  });
  session.on("exec", (accept, _reject, { command }) => {
    start(take(accept), command, () => workOf(command, auth, account));
  });
  session.on("subsystem", (accept, _reject, { name }) => {
    const channel = take(accept);
    if (channel === undefined) return;
    begin(channel, statusOf("subsystem", name), (held) => {
      const subsystem = subsystemOf(context.subsystems, name);
      return () => runSubsystem(channel, subsystem, held);
    });
  });

  /** RFC 4254 §6.5: one program for each session. `undefined`: there is one already. */
  function take(accept: () => ServerChannel | undefined): ServerChannel | undefined {
    const channel = accept();
    if (channel === undefined) return undefined;
    const adopted = client.adopt(channel);
    context.onchannel(adopted);
    return adopted;
  }

  /**
   * Say why not, where the person sees it, and end as a shell does that may not run something. A failure of the
   * request itself (RFC 4254 §5.4) has no room for a reason, and `ssh` ends upon it without a look at what came before.
   */
  function turnAway(channel: ServerChannel, reason: string, scope: string | undefined): void {
    context.onrefused(reason, scope);
    if (scope !== undefined) context.tell(`alknet: not allowed, this key lacks ${scope}`);
    void leave(channel, { kind: "failed", error: new Error(reason) });
  }

  function start(
    channel: ServerChannel | undefined,
    command: string | undefined,
    allow: () => Work,
  ): void {
    if (channel === undefined) return;
    const status = statusOf(command === undefined ? "shell" : "exec", command);
    begin(channel, status, (held) => {
      const work = allow();
      held.push(work.grant);
      return () => run(channel, work, held, status);
    });
  }

  /** @param allow adds the rights that are to be held meanwhile. It throws if there is none, or it cannot be done. */
  function begin(
    channel: ServerChannel,
    status: SessionStatus,
    allow: (held: Grant[]) => () => Promise<void>,
  ): void {
    const done = context.begin(status);
    if (done === undefined) return turnAway(channel, "too many sessions of one peer", undefined);
    const held: Grant[] = [];
    const finish = (): void => {
      for (const grant of held) grant[Symbol.dispose]();
      done();
    };
    let serve: () => Promise<void>;
    try {
      held.push(auth.hold(`user ${account.name}`, (peer) => account.isOf?.(peer) ?? true));
      serve = allow(held);
    } catch (error) {
      finish();
      const scope = error instanceof AccessDenied ? error.missing : undefined;
      return turnAway(channel, (error as Error).message, scope);
    }
    void serve()
      .catch((error: unknown) => {
        context.logger.error({ peer: auth.peer?.id, err: error }, "a session failed");
        program?.killAll();
        channel.close();
      })
      .finally(finish);
  }

  function statusOf(kind: SessionStatus["kind"], command: string | undefined): SessionStatus {
    return {
      peer: auth.peer?.id ?? "",
      user: account.name,
      kind,
      since: context.clock.wallTime(),
      remote: context.remoteAddress,
      terminal: terminal?.name,
      command,
    };
  }

  async function runSubsystem(
    channel: ServerChannel,
    subsystem: Subsystem,
    held: readonly Grant[],
  ): Promise<void> {
    const taken = AbortSignal.any(held.map((grant) => grant.signal));
    const signal = AbortSignal.any([closed.signal, context.gone, taken]);
    const unfollow = whenAborted(taken, () => channel.close());
    // Who reads it by `for await` destroys it at its end, and the status is still to come.
    channel.destroy = () => channel;
    try {
      const status = await subsystem(channel, { auth, account, signal });
      await leave(channel, { kind: "status", status });
    } finally {
      unfollow();
    }
  }

  async function run(
    channel: ServerChannel,
    { words, login }: Work,
    held: readonly Grant[],
    status: SessionStatus,
  ): Promise<void> {
    const env = { ...Object.fromEntries(variables), ...environment(account), ...context.env() };
    const options = { words, login, env, cwd: account.home, runAs: account.runAs };
    try {
      recording = await context.recorder?.({ ...status, size: terminal?.size });
      program =
        terminal === undefined
          ? await runProgram(options)
          : await runOnTerminal({ ...options, ...terminal, terminal: terminal.name });
    } catch (error) {
      await recording?.close();
      return leave(channel, { kind: "failed", error: error as Error });
    }
    using _turns = terminal && shortTurns();
    using _windows = terminal && client.typing();
    const { stdin, stdout, stderr, ended } = program;
    // A program that reads no more has ended its stdin, or itself: what still comes goes nowhere.
    stdin.on("error", () => channel.resume());
    passOn(channel, stdin);
    channel.once("end", () => stdin.end());
    const outputs = [show(stdout, channel)];
    if (stderr !== undefined) outputs.push(show(stderr, channel.stderr));
    const failures = recording === undefined ? [] : [recording.failed];
    const taken = AbortSignal.any([...held.map((grant) => grant.signal), ...failures]);
    const unfollow = [
      whenAborted(taken, program.killAll),
      whenAborted(AbortSignal.any([closed.signal, context.gone]), hangUp),
    ];
    const end = await ended;
    program = undefined;
    await Promise.all(outputs.map((output) => output.read));
    for (const each of unfollow) each();
    await recording?.close();
    if (taken.aborted) channel.stderr.write(`alknet: ${(taken.reason as Error).message}\r\n`);
    await leave(channel, end);

    /** There is nobody to read it, and what it writes must not keep it from ending. */
    function hangUp(): () => void {
      program?.hangUp();
      for (const output of outputs) output.drop();
      return deadlines(HANG_UP_TIME, context.clock).add(() => program?.killSession());
    }
  }

  /** Have what a program prints recorded, and then sent. */
  function show(output: Readable, to: Writable): Shown {
    const shown = recording === undefined ? output : output.pipe(recording.tap());
    const stop = passOn(shown, to);
    return {
      read: finished(shown, { writable: false }).catch(() => {}),
      drop() {
        stop();
        shown.resume();
      },
    };
  }

  async function leave(channel: ServerChannel, end: ProgramEnd): Promise<void> {
    if (closed.signal.aborted || context.gone.aborted) return;
    if (end.kind === "failed") channel.stderr.write(`alknet: ${end.error.message}\r\n`);
    channel.stderr.end();
    // The channel's own end closes both ways: what stderr still has goes first.
    const over = once(closed.signal, "abort");
    await Promise.race([finished(channel.stderr), over]);
    if (closed.signal.aborted || context.gone.aborted) return;
    exit(channel, end);
    channel.end();
    channel.resume();
  }
}

interface Shown {
  /** Resolves when all of it has been taken. */
  readonly read: Promise<void>;
  /** Send no more of it. */
  readonly drop: () => void;
}

/** @param act may give back what undoes it. @returns how to undo it, or to follow the signal no longer. */
function whenAborted(signal: AbortSignal, act: () => (() => void) | void): () => void {
  let undo: (() => void) | void;
  const listener = (): void => void (undo = act());
  if (signal.aborted) listener();
  else signal.addEventListener("abort", listener, { once: true });
  return () => {
    signal.removeEventListener("abort", listener);
    undo?.();
  };
}

/**
 * The bare `ssh:exec` runs a shell; a pattern is held against the words, which are run as they are.
 *
 * @throws {AccessDenied | CommandError}
 */
function workOf(command: string, auth: AuthContext, account: Account): Work {
  if (auth.allows("ssh:exec")) {
    return { words: [account.shell, "-c", command], grant: auth.grant("ssh:exec") };
  }
  // Who may run nothing is told so, and not how to quote.
  const scopes = compileScopes(auth.peer?.scopes ?? []);
  if (!scopes.actions.has("ssh:exec")) auth.grant("ssh:exec")[Symbol.dispose]();
  const words = commandWords(command) as [string, ...string[]];
  if (!mayRun(scopes, words)) {
    const reason = `peer ${JSON.stringify(auth.peer?.id)} lacks ssh:exec for this command`;
    throw new AccessDenied("ssh:exec", reason, `ssh:exec:${command}`);
  }
  return {
    // It says that the account is not to be used, and why.
    words: CLOSED_SHELLS.includes(basename(account.shell)) ? [account.shell] : words,
    grant: auth.hold("ssh:exec", (peer) => mayRun(compileScopes(peer.scopes), words)),
  };
}

function exit(channel: ServerChannel, end: ProgramEnd): void {
  switch (end.kind) {
    case "status":
      channel.exit(end.status);
      break;
    case "signal": {
      const name = end.signal.slice("SIG".length);
      // One without a name there: as a shell would tell of it.
      if (SIGNALS.includes(name)) channel.exit(name, false, "");
      else channel.exit(255);
      break;
    }
    case "failed":
      // As a shell: not found, or not to be run.
      channel.exit((end.error as NodeJS.ErrnoException).code === "ENOENT" ? 127 : 126);
      break;
  }
}

/** As sshd sets it; nothing else of the node's own environment is anybody's business. */
function environment({ name, home, shell }: Account): Record<string, string> {
  const { TZ } = process.env;
  const own = { PATH, HOME: home, USER: name, LOGNAME: name, SHELL: shell };
  return { ...own, MAIL: `/var/mail/${name}`, ...(TZ === undefined ? {} : { TZ }) };
}

function isAccepted(name: string, patterns: readonly string[]): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && patterns.some((each) => matchGlob(parseGlob(each), name));
}

function sizeOf({ cols, rows }: { cols: number; rows: number }): WindowSize {
  // Zero is "not known" (RFC 4254 §6.2).
  const side = (value: number, unknown: number): number =>
    value === 0 ? unknown : Math.min(value, MAX_SIDE);
  return { columns: side(cols, 80), rows: side(rows, 24) };
}
