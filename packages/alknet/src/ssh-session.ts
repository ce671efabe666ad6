/**
 * A shell or a command over there, on the terminal or the pipes of this process.
 *
 * @module
 */

import { once } from "node:events";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { ReadStream, WriteStream } from "node:tty";
import type { SessionEnd, SshClient, SshSession } from "@alknet/ssh/client";
import { terminalModes } from "@alknet/ssh/client-terminal-modes";
import { passOn, shortTurns } from "@alknet/ssh/pass-on";
import type { Context } from "./context.ts";
import { holdBack } from "./hold-back.ts";
import { escapeHelp, escapes } from "./ssh-escape.ts";
import type { SshTeller } from "./ssh-teller.ts";
import { describeModes, enterRawMode, type RawMode, sizeOf } from "./ssh-tty.ts";

/** What is to run. */
export interface SessionKind {
  /** `undefined`: a shell. */
  readonly command: string | undefined;
  /** `undefined`: for a shell on a terminal. */
  readonly terminal: "no" | "yes" | "always" | undefined;
  /** Whether what comes in here goes there. */
  readonly input: boolean;
  /** Code of the escape character; `undefined`: none. */
  readonly escape: number | undefined;
  readonly agent: boolean;
  /** Variables for it, beside those that go along always. */
  readonly env: Readonly<Record<string, string>>;
}

export type SessionOutcome =
  /** With the exit code for this process; `by`: the signal that ended it. */
  | { readonly kind: "ended"; readonly status: number; readonly by?: string }
  | { readonly kind: "lost" };

/** Variables that go along; the far side takes those that it lets in. */
const PASSED = /^(?:LANG|LC_[A-Z]+|COLORTERM|NO_COLOR)$/;
/** Of a signal without a number here. */
const UNKNOWN_SIGNAL = 255;

/**
 * To the beginning of a line of the main screen, with a cursor and without colors, reports of the mouse or keys of an
 * application. Where all is so already, nothing of it moves.
 */
const TIDY = "\x1b[?1047l\x1b[?1000;1002;1003;1006;2004l\x1b[?1l\x1b>\x1b[?25h\x1b[m\r\n";

export async function runSession(
  context: Context,
  client: SshClient,
  kind: SessionKind,
  teller: SshTeller,
): Promise<SessionOutcome> {
  const { input, output } = context.pipe();
  const { env } = process;
  const wanted = kind.terminal ?? (kind.command === undefined ? "yes" : "no");
  const hasTerminal = wanted === "always" || (wanted === "yes" && input instanceof ReadStream);
  const keyboard = hasTerminal && input instanceof ReadStream ? input : undefined;
  const screen = output instanceof WriteStream ? output : undefined;
  if (wanted === "yes" && !hasTerminal && (kind.terminal === "yes" || kind.command === undefined)) {
    teller.note("a terminal is not asked for over there: stdin is none (-tt asks all the same)");
  }
  // The modes are looked at before they are changed.
  const modes = keyboard === undefined ? "" : await describeModes();
  const session = await client.session({
    env: { ...passedOf(env), ...kind.env },
    agent: kind.agent,
    terminal: hasTerminal
      ? {
          name: env["TERM"] ?? "dumb",
          size: screen === undefined ? { columns: 80, rows: 24 } : sizeOf(screen),
          modes: terminalModes(modes),
        }
      : undefined,
    program:
      kind.command === undefined ? { kind: "shell" } : { kind: "exec", command: kind.command },
  });
  for (const each of session.refused) teller.notGiven(each);
  using raw = keyboard === undefined ? undefined : enterRawMode(keyboard);
  const hangUp = (): void => client.abort(new Error("the terminal is gone"));
  // Node would end at once, and leave it raw.
  using _hangup = raw && context.onhangup?.(hangUp);
  keyboard?.once("error", hangUp);
  using _turns = hasTerminal ? shortTurns() : undefined;
  using _typing = kind.input
    ? type(session, input, { raw, escape: raw && kind.escape, teller, client, screen })
    : undefined;
  if (!kind.input) session.channel.end();
  // Who has stopped to read us does not take the rest, and its end would never come.
  const unread = aborted(context.interrupted).then((): SessionEnd => ({ kind: "lost" }));
  const onresize = (): void => session.resize(sizeOf(screen!));
  screen?.on("resize", onresize);
  let release = (): void => {};
  try {
    passOn(session.channel, output);
    if (raw === undefined) session.stderr.pipe(process.stderr, { end: false });
    else release = holdBack(session.stderr, process.stderr);
    const end = await Promise.race([session.ended, unread]);
    // A program that has not come to its own end has not tidied up either.
    if (raw && end.kind !== "exited") screen?.write(env["TERM"] === "dumb" ? "\r\n" : TIDY);
    return outcomeOf(end);
  } finally {
    screen?.off("resize", onresize);
    release();
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

function passedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((each): each is [string, string] => PASSED.test(each[0])),
  );
}

function outcomeOf(end: SessionEnd): SessionOutcome {
  switch (end.kind) {
    case "exited":
      return { kind: "ended", status: end.status & 0xff };
    case "killed": {
      const number = constants.signals[end.signal as NodeJS.Signals] as number | undefined;
      const status = number === undefined ? UNKNOWN_SIGNAL : 128 + number;
      return { kind: "ended", status, by: end.signal };
    }
    case "lost":
      return end;
  }
}

interface TypeOptions {
  readonly raw: RawMode | undefined;
  readonly escape: number | undefined;
  readonly teller: SshTeller;
  readonly client: SshClient;
  readonly screen: WriteStream | undefined;
}

/** Send what comes in, until that ends or this is disposed of. */
function type(
  session: SshSession,
  input: Readable,
  { raw, escape, teller, client, screen }: TypeOptions,
): Disposable {
  const { channel } = session;
  const take = escapes(escape);
  const send = (bytes: Uint8Array): void => {
    if (!(channel as Writable).write(bytes)) input.pause();
  };
  const ondata = (data: Buffer): void => {
    for (const typed of take(data)) {
      switch (typed.kind) {
        case "bytes":
          send(typed.bytes);
          break;
        case "disconnect":
          return client.abort(new Error("disconnected"));
        case "help":
          screen?.write(escapeHelp(String.fromCharCode(escape!)));
          break;
        case "forwards":
          for (const line of teller.forwards()) screen?.write(`${line}\r\n`);
          break;
        case "suspend":
          raw?.suspend();
      }
    }
  };
  const onend = (): void => void channel.end();
  const ondrain = (): void => void input.resume();
  input.on("data", ondata).on("end", onend);
  // Of a session before this one.
  if (input.readableEnded) onend();
  channel.on("drain", ondrain);
  input.resume();
  return {
    [Symbol.dispose]() {
      input.off("data", ondata).off("end", onend);
      channel.off("drain", ondrain);
      input.pause();
    },
  };
}
