/**
 * What `alknet forward` and `alknet socks` have in common: reach the peer, listen, carry flows, drain.
 *
 * @module
 */

import { once } from "node:events";
import type { Dialer } from "@alknet/core/dialer";
import type { Logger } from "@alknet/core/log";
import { inTurns } from "@alknet/tunnel/in-turns";
import type { Listener } from "@alknet/tunnel/listener";
import type { DialTunnel } from "@alknet/tunnel/open-flow";
import { ALPN } from "@alknet/tunnel/tunnel";
import { openClient } from "./client.ts";
import { CommandError } from "./command-error.ts";
import type { Context } from "./context.ts";
import { explain } from "./explain.ts";
import { setHeapBudget } from "./heap-budget.ts";
import { Interrupted } from "./interrupted.ts";
import { createLogger } from "./log.ts";
import { reach, type Way } from "./reach.ts";
import { say } from "./terminal.ts";

export interface LocalListenersOptions {
  readonly target: string;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
  readonly verbose: boolean;
  /** Begin to listen; on an error those that listen already are closed. */
  readonly listen: (tools: ListenTools) => readonly (() => Promise<Listener>)[];
  /** All listen. */
  readonly ready: (listeners: readonly Listener[], way: Way & { readonly rtt: number }) => void;
}

export interface ListenTools {
  readonly dial: DialTunnel;
  readonly logger: Logger;
  /** Tells people why a connection came to nothing, once in a row. */
  readonly onfailure: (what: string) => (error: Error) => void;
}

/** How long flows may go on after the first Ctrl-C, in milliseconds. */
const DRAIN = 2_000;

/** Run until interrupted. Nothing listens any more when this settles. */
export async function runLocalListeners(
  context: Context,
  options: LocalListenersOptions,
): Promise<void> {
  const { terminal, interrupted, killed } = context;
  const { target, transports } = options;
  setHeapBudget();
  const human = terminal.words.isTerminal;
  const logger = await createLogger({
    level: options.verbose ? "debug" : "warn",
    human,
    write: (text) => terminal.words.write(text),
  });
  const client = openClient(context, logger);
  // A key that is not let in, or a node that is not there, is told now and not at the first connection.
  const way = await reach(client.dialer, target, { transports, signal: interrupted }).catch(
    async (error: unknown) => {
      await client.leave();
      throw interrupted.aborted ? new Interrupted() : error;
    },
  );
  const { fingerprint } = client.identity;
  const listeners: Listener[] = [];
  const abort = (): void => {
    for (const listener of listeners) listener.abort();
  };
  // The system would end our sockets in order, and a half of something would pass for all of it.
  killed.addEventListener("abort", abort, { once: true });
  try {
    const dial = dialTunnel(client.dialer, target, transports);
    const onfailure = human ? tellFailures(context, fingerprint) : () => () => {};
    for (const listen of options.listen({ dial, logger, onfailure })) {
      listeners.push(
        await listen().catch((error: unknown) => {
          throw cannotListen(error);
        }),
      );
    }
    options.ready(listeners, { ...way, rtt: way.rtts[0]! });
    if (!interrupted.aborted) await once(interrupted, "abort");
    const finished = Promise.all(listeners.map((listener) => listener.close()));
    if (human && listeners.some(({ connections }) => connections > 0)) {
      say(terminal, "finishing; Ctrl-C once more to end now");
    }
    await Promise.race([finished, once(AbortSignal.timeout(DRAIN), "abort")]);
  } finally {
    abort();
    await Promise.all(listeners.map((listener) => listener.close()));
    await client[Symbol.asyncDispose]();
  }
}

function dialTunnel(
  dialer: Dialer,
  target: string,
  transports: readonly ("quic" | "tcp")[] | undefined,
): DialTunnel {
  return inTurns(({ signal }) => dialer.open(target, ALPN, { signal, transports }));
}

/** Once for the same words in a row: a browser asks for the same forbidden thing ten times. */
function tellFailures(
  { terminal }: Context,
  fingerprint: string,
): (what: string) => (error: Error) => void {
  let last = "";
  return (what) => (error) => {
    const { message, hint } = explain(error, fingerprint);
    const text = `${what}: ${message}${hint === undefined ? "" : `\nhint: ${hint}`}`;
    if (text !== last) say(terminal, text);
    last = text;
  };
}

function cannotListen(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "EADDRINUSE") return error;
  return new CommandError(`cannot listen: ${error.message}`, {
    code,
    hint: "choose another local port; 0 takes any that is free",
    cause: error,
  });
}
