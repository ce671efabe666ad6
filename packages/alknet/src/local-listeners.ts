/**
 * What `alknet forward`, `alknet socks` and `alknet expose` have in common: reach the peer, listen, carry flows,
 * drain.
 *
 * @module
 */

import { once } from "node:events";
import type { Dialer } from "@alknet/core/dialer";
import { formatHostPort, type HostPort } from "@alknet/core/host";
import type { Logger } from "@alknet/core/log";
import { inTurns } from "@alknet/tunnel/in-turns";
import type { DialWithConnection } from "@alknet/tunnel/open-flow";
import { ALPN } from "@alknet/tunnel/tunnel";
import { cannotListen } from "./cannot-listen.ts";
import { openClient } from "./client.ts";
import type { Context } from "./context.ts";
import { setHeapBudget } from "./heap-budget.ts";
import { Interrupted } from "./interrupted.ts";
import { createLogger } from "./log.ts";
import { describeWay, reach } from "./reach.ts";
import { type Place, tellFlows } from "./tell-flows.ts";
import { say } from "./terminal.ts";

export interface LocalListenersOptions {
  readonly target: string;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly locals: readonly Local[];
  /** What is told once all listen: an event's fields, and words for a person. */
  readonly describe: (places: readonly Place[]) => {
    readonly document: object;
    readonly words: readonly string[];
  };
}

/** Something that is to listen: here, or over there for us. */
export interface Local {
  /** `host:port` on the other side, as the user typed it; `undefined`: wherever each client asks for. */
  readonly target: string | undefined;
  /** Whether the far side listens. @default false */
  readonly far?: boolean | undefined;
  readonly listen: (tools: ListenTools) => Promise<Running>;
}

/** Something that listens. */
export interface Running {
  /** Where, or in words. */
  readonly address: { readonly address: string; readonly port: number } | string;
  /** Connections that stand now. */
  readonly connections: number;
  /** Take no new ones, and wait for those that stand. Idempotent. */
  close(): Promise<void>;
  /** End now: those that stand are reset. */
  abort(): void;
}

export interface ListenTools {
  readonly dial: DialWithConnection;
  readonly logger: Logger;
  /** Ends the wait for a far side that is to listen. */
  readonly signal: AbortSignal;
  /** Tells why a connection came to nothing. */
  readonly onfailure: (error: Error, asked?: HostPort) => void;
  /** Tells that a far side listens no more, and when it is asked again, in milliseconds. */
  readonly onlost: (error: Error, delay: number) => void;
  /** Tells that it listens again. @param listen where, in words */
  readonly onback: (listen: string) => void;
}

/** How long flows may go on after the first Ctrl-C, in milliseconds. */
const DRAIN = 2_000;

/**
 * Run until interrupted. Nothing listens any more when this settles.
 *
 * @throws {Interrupted} in the good case too: there is no other end.
 */
export async function runLocalListeners(
  context: Context,
  options: LocalListenersOptions,
): Promise<void> {
  const { terminal, interrupted, killed } = context;
  const { target, transports } = options;
  setHeapBudget();
  const human = terminal.words.isTerminal;
  const logger = await createLogger({
    level: options.verbose ? "debug" : "info",
    human,
    write: (text) => terminal.words.write(text),
  });
  const client = await openClient(context, logger);
  // A key that is not let in, or a node that is not there, is told now and not at the first connection.
  const way = await reach(client.dialer, target, { transports, signal: interrupted }).catch(
    async (error: unknown) => {
      await client.leave();
      throw interrupted.aborted ? new Interrupted() : error;
    },
  );
  const { fingerprint } = client.identity;
  const listeners: Running[] = [];
  // While a far side is waited for there may be no socket, and timers of ours keep no process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  const abort = (): void => {
    for (const listener of listeners) listener.abort();
  };
  // The system would end our sockets in order, and a half of something would pass for all of it.
  killed.addEventListener("abort", abort, { once: true });
  try {
    const dial = dialTunnel(client.dialer, target, transports);
    const told = { ...way, rtt: way.rtts[0]! };
    const teller = tellFlows(terminal, { json: options.json, logger, fingerprint, way: told });
    const places: Place[] = [];
    for (const { target: to, far, listen } of options.locals) {
      // Nobody can have connected before it has its place.
      const index = places.length;
      const onfailure: ListenTools["onfailure"] = (error, asked) =>
        teller.refused(places[index]!, error, asked && formatHostPort(asked));
      const onlost: ListenTools["onlost"] = (error, delay) =>
        teller.lost(places[index]!, error, delay);
      const onback: ListenTools["onback"] = (where) => {
        places[index] = { ...places[index]!, listen: where };
        teller.back(places[index]);
      };
      const tools = { dial, logger, signal: interrupted, onfailure, onlost, onback };
      const listener = await listen(tools).catch((error: unknown) => {
        throw interrupted.aborted ? new Interrupted() : listenError(error);
      });
      listeners.push(listener);
      places.push({ listen: whereOf(listener), target: to, far });
    }
    const { document, words } = options.describe(places);
    teller.listening(places, document, [describeWay(way), ...words]);
    if (!interrupted.aborted) await once(interrupted, "abort");
    const finished = Promise.all(listeners.map((listener) => listener.close()));
    if (human && listeners.some(({ connections }) => connections > 0)) {
      say(terminal, "finishing; Ctrl-C once more to end now");
    }
    await Promise.race([finished, once(AbortSignal.timeout(DRAIN), "abort")]);
    abort();
    await finished;
    teller.closed(places);
    throw new Interrupted();
  } finally {
    clearInterval(alive);
    abort();
    await Promise.all(listeners.map((listener) => listener.close()));
    await client[Symbol.asyncDispose]();
  }
}

function dialTunnel(
  dialer: Dialer,
  target: string,
  transports: readonly ("quic" | "tcp")[] | undefined,
): DialWithConnection {
  return inTurns(({ signal }) => dialer.open(target, ALPN, { signal, transports }));
}

function whereOf({ address }: Running): string {
  if (typeof address === "string") return address;
  return formatHostPort({ host: address.address, port: address.port });
}

/** What the far side says of itself is explained elsewhere. */
function listenError(error: unknown): unknown {
  const ours = error as NodeJS.ErrnoException;
  return ours.code === "EADDRINUSE" || ours.path !== undefined ? cannotListen(ours) : error;
}
