/**
 * What `alknet forward`, `alknet socks` and `alknet expose` tell while they run: words on a terminal, log lines
 * elsewhere, and with `--json` one document for each event on stdout.
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

/** Something that listens. */
export interface Place {
  /** `address:port`, as it was got. */
  readonly listen: string;
  /** `host:port` on the other side; `undefined`: wherever each client asks for. */
  readonly target: string | undefined;
  /** Whether it is the far side that listens, for this one. */
  readonly far?: boolean | undefined;
}

export interface FlowWarning {
  readonly text: string;
  readonly hint: string;
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
  /** The far side listens there no more. @param delay until it is asked again, in milliseconds */
  lost(place: Place, error: Error, delay: number): void;
  /** It listens again. */
  back(place: Place): void;
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
      for (const place of places) {
        const warning = warningOf(place);
        if (warning === undefined) continue;
        const { text, hint } = warning;
        if (human) say(terminal, `warning: ${text}\nhint: ${hint}`);
        else logger.warn({ listen: place.listen }, text);
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

    lost(place, error, delay) {
      const { code, message, hint } = explain(error, fingerprint);
      const { listen, target } = place;
      const retry = delay / 1_000;
      if (json) {
        printJson(terminal, { event: "lost", listen, target, code, message, hint, retry });
      }
      const text = `${leads(place)}: lost, trying again: ${message}`;
      if (!human) logger.warn({ listen, target, code, retry }, text);
      else if (text !== last) say(terminal, hint === undefined ? text : `${text}\nhint: ${hint}`);
      last = text;
    },

    back(place) {
      const { listen, target } = place;
      if (json) printJson(terminal, { event: "back", listen, target });
      const text = `${leads(place)}: back`;
      if (human) say(terminal, text);
      else logger.info({ listen, target }, text);
      last = text;
    },

    closed(places) {
      if (json) printJson(terminal, { event: "closed", listen: places.map((it) => it.listen) });
      if (!human) logger.info({}, `closed: ${places.map(leads).join(", ")}`);
    },
  };
}

/** Not on loopback, nor a Unix socket. */
function isOpenToOthers({ listen }: Place): boolean {
  return !/^(?:127\.|\[::1\]:|\[::ffff:127\.|localhost:|\/)/.test(listen);
}

/** What to warn of, if others can connect there. */
export function warningOf(place: Place): FlowWarning | undefined {
  if (!isOpenToOthers(place)) return undefined;
  const { listen, target, far } = place;
  if (far === true) {
    const text = `${listen} over there is open to other machines, and whoever connects reaches ${target}`;
    return { text, hint: "without an address it is localhost" };
  }
  const text = `${listen} is open to other machines, and whoever connects uses the rights of this key`;
  return { text, hint: "without an address it is localhost" };
}

function leads({ listen, target }: Place): string {
  return target === undefined ? `proxy on ${listen}` : `${listen} -> ${target}`;
}

/** The scope without what a client asked for. */
function which(scope: string | undefined): string {
  if (scope === undefined) return "";
  return `, this key lacks a scope ${scope.split(":").slice(0, 2).join(":")} (-v tells which)`;
}

/** The far side's words begin with the target, which has been said. */
export function withoutTarget(message: string, target: string | undefined): string {
  return message.startsWith(`${target}: `) ? message.slice(`${target}: `.length) : message;
}
