/**
 * What `alknet forward` and `alknet socks` tell while they run: words on a terminal, log lines elsewhere, and
 * with `--json` one document for each event on stdout.
 *
 * The forwards are named as their user typed them. What the clients of a proxy ask for is nothing for a log: it
 * is told on a terminal and in events only.
 *
 * @module
 */

import type { Logger } from "@alknet/core/log";
import { FlowRefused } from "@alknet/tunnel/refused";
import { explain } from "./explain.ts";
import { roundToMicroseconds } from "./milliseconds.ts";
import { missingScope } from "./missing-scope.ts";
import type { Way } from "./reach.ts";
import { printable, printJson, say, type Terminal } from "./terminal.ts";

/** Something local that listens. */
export interface Place {
  /** `address:port`, as it was got. */
  readonly listen: string;
  /** `host:port` over there; `undefined`: wherever each client asks for. */
  readonly target: string | undefined;
}

export interface TellFlowsOptions {
  readonly json: boolean;
  readonly logger: Logger;
  /** Of this node's key, for what its owner has to have pasted over there. */
  readonly fingerprint: string;
  readonly way: Way & { readonly rtt: number };
}

export interface FlowTeller {
  /** All of them listen. @param document what the event says beside the way; @param words for a person. */
  listening(places: readonly Place[], document: object, words: readonly string[]): void;
  /** A local connection came to nothing. @param asked what a client of a proxy wanted, `host:port`. */
  refused(place: Place, error: Error, asked?: string): void;
  /** Nothing listens any more. */
  closed(places: readonly Place[]): void;
}

export function tellFlows(terminal: Terminal, options: TellFlowsOptions): FlowTeller {
  const { json, logger, fingerprint, way } = options;
  const human = terminal.words.isTerminal;
  const { transport, address, peer, rtt } = way;
  let last = "";

  return {
    listening(places, document, words) {
      if (json) {
        const event = "listening";
        printJson(terminal, {
          event,
          ...document,
          transport,
          address,
          peer,
          fingerprint: way.fingerprint,
          rtt: roundToMicroseconds(rtt),
        });
      }
      if (!human) {
        const who = printable([peer, address].filter(Boolean).join(" "));
        const fields = { peer, address, fingerprint: way.fingerprint, transport };
        logger.info(fields, `${places.map(leads).join(", ")} at ${who} over ${transport}`);
      } else if (!json) for (const line of words) say(terminal, line);
      for (const { listen } of places.filter(isOpenToOthers)) {
        const text = `${listen} is open to other machines, and whoever connects uses the rights of this key`;
        if (human) say(terminal, `warning: ${text}\nhint: without an address it is 127.0.0.1`);
        else logger.warn({ listen }, text);
      }
    },

    refused(place, error, asked) {
      const { code, message, hint } = explain(error, fingerprint);
      const refusal = error instanceof FlowRefused ? error.refusal : undefined;
      const scope = missingScope(error);
      const { listen } = place;
      const target = place.target ?? asked;
      if (json) {
        const event = "refused";
        printJson(terminal, { event, listen, target, code, refusal, scope, message, hint });
      }
      const reason = withoutTarget(message, target);
      if (human) {
        // Once for the same words in a row: a browser asks for the same forbidden thing ten times.
        const text = [`${listen} -> ${target}: ${reason}`, ...(hint ? [`hint: ${hint}`] : [])];
        if (text.join() !== last) for (const line of text) say(terminal, line);
        last = text.join();
      } else if (place.target === undefined) {
        const why = refusal ?? reason;
        logger.warn({ listen, code, refusal }, `not forwarded: ${listen}: ${why}${which(scope)}`);
      } else {
        const text = `not forwarded: ${leads(place)}: ${reason}`;
        logger.warn({ listen, target, code, refusal, scope }, text);
      }
    },

    closed(places) {
      if (json) printJson(terminal, { event: "closed", listen: places.map((it) => it.listen) });
      if (!human) logger.info({}, `closed: ${places.map(leads).join(", ")}`);
    },
  };
}

/** Not on loopback. */
function isOpenToOthers({ listen }: Place): boolean {
  return !/^(?:127\.|\[::1\]:|\[::ffff:127\.)/.test(listen);
}

function leads({ listen, target }: Place): string {
  return target === undefined ? `SOCKS 5 on ${listen}` : `${listen} -> ${target}`;
}

/** The scope without what a client asked for. */
function which(scope: string | undefined): string {
  if (scope === undefined) return "";
  return `, this key lacks a scope ${scope.split(":").slice(0, 2).join(":")} (-v tells which)`;
}

/** The far side's words begin with the target, which has been said. */
function withoutTarget(message: string, target: string | undefined): string {
  return message.startsWith(`${target}: `) ? message.slice(`${target}: `.length) : message;
}
