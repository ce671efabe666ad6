/**
 * Whom `alknet call` and `alknet ops` call: a peer's node by name, ticket or address, or `.`, the node that runs here.
 *
 * @module
 */

import { CallError, isConnectionLost } from "@alknet/call/call-error";
import { callSession } from "@alknet/call/call-session";
import type { CallSession } from "@alknet/call/session";
import { CloseCode } from "@alknet/core/close-code";
import { type CloseReason, ConnectionClosed } from "@alknet/core/connection";
import { parseScope } from "@alknet/core/scope";
import { openClient } from "./client.ts";
import { CommandError, ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";
import { CALL_ALPN, callNode } from "./control.ts";
import { Interrupted } from "./interrupted.ts";
import { shellWord } from "./shell-word.ts";
import { printable } from "./terminal.ts";

/** What the node that runs here is called. */
export const LOCAL = ".";

export interface CallTargetOptions {
  /** Over these only. @default whatever gets through first */
  readonly transports?: readonly ("quic" | "tcp")[] | undefined;
  /** Ends what goes on. @default the first Ctrl-C */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Run `work` with a session to `target`, and end it.
 *
 * @throws {CommandError} with the code of the call that failed, and exit code 3 if it was `FORBIDDEN`.
 * @throws {ConnectionClosed} if the connection is refused, or is lost.
 * @throws {Interrupted}
 * @throws what the dial throws.
 */
export async function withCallTarget<T>(
  context: Context,
  target: string,
  { transports, signal = context.interrupted }: CallTargetOptions,
  work: (session: CallSession, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  try {
    if (target === LOCAL)
      return await withSession(await callNode(context.home), target, signal, work);
    const client = await openClient(context);
    try {
      const connection = await client.dialer.dial(target, CALL_ALPN, { transports, signal });
      return await withSession(callSession(connection), target, signal, work);
    } finally {
      await client.leave();
    }
  } catch (error) {
    throw context.interrupted.aborted ? new Interrupted() : error;
  }
}

async function withSession<T>(
  session: CallSession,
  target: string,
  signal: AbortSignal,
  work: (session: CallSession, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  try {
    return await work(session, signal);
  } catch (error) {
    // Why the connection ended says more than what that did to the call.
    if (isConnectionLost(error)) throw lost(await session.closed, target, error);
    throw error instanceof CallError ? failedCall(error, target) : error;
  } finally {
    session.connection.abort(CloseCode.OK);
  }
}

/** Closed in order, with a call of ours under way: the node stops, or its owner has closed the connection. */
function lost(reason: CloseReason, target: string, cause: Error): Error {
  if (reason.name !== "OK") return new ConnectionClosed(reason, { cause });
  return new CommandError(`${printable(target)} has closed the connection`, {
    code: "CONNECTION_LOST",
    exitCode: ExitCode.NOT_CONNECTED,
    hint: "it may have been stopped; try again",
    cause,
  });
}

/** A call that failed, as a command tells it. */
function failedCall(error: CallError, target: string): CommandError {
  const { code, message, details } = error;
  return new CommandError(
    `${printable(target)} answers ${printable(code)}: ${printable(message)}`,
    {
      code,
      details,
      exitCode: code === "FORBIDDEN" ? ExitCode.NOT_ALLOWED : ExitCode.FAILED,
      hint: hintOf(error, target),
      cause: error,
    },
  );
}

function hintOf({ code, message }: CallError, target: string): string | undefined {
  const there = shellWord(printable(target));
  switch (code) {
    case "FORBIDDEN": {
      const scope = neededScope(message);
      if (scope === undefined) return undefined;
      return `to be let through, over there: alknet peers grant NAME ${shellWord(scope)}`;
    }
    case "NOT_FOUND":
      return `see what there is, and may be called: alknet ops ${there}`;
    case "INVALID_INPUT":
      return `see what it takes: alknet ops ${there} OPERATION`;
    case "TIMEOUT":
      return "give it more time: --timeout 5m";
    default:
      return undefined;
  }
}

/** `undefined` if the text, which is the other node's, names none. */
function neededScope(message: string): string | undefined {
  const named = /^missing required scope(?:: | \(any of: )([^\s,)]+)/.exec(message)?.[1];
  if (named === undefined) return undefined;
  try {
    return parseScope(named).text;
  } catch {
    return undefined;
  }
}
