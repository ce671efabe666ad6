/**
 * `alknet forward`: ports and Unix sockets of another machine as local ones.
 *
 * @module
 */

import { forward as forwardPort, forwardUnix } from "@alknet/tunnel/forward";
import { forwardUdp } from "@alknet/tunnel/forward-udp";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { type Local, runLocalListeners } from "../local-listeners.ts";
import { type ForwardPlace, formatPlace, parseLocalForward } from "../ssh-forward-spec.ts";

export interface ForwardCommandOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  /** UDP ports, and not TCP. */
  readonly udp: boolean;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function forward(
  context: Context,
  target: string,
  texts: readonly string[],
  { json, verbose, udp, transports }: ForwardCommandOptions,
): Promise<void> {
  const protocol = udp ? "udp" : undefined;
  const suffix = udp ? " (UDP)" : "";
  await runLocalListeners(context, {
    target,
    transports,
    json,
    verbose,
    locals: texts.map(udp ? udpLocal : tcpLocal),
    describe: (places) => ({
      document: { forwards: places.map((place) => ({ ...place, protocol })) },
      words: places.map(({ listen, target: to }) => `${listen} -> ${to}${suffix}`),
    }),
  });
}

function tcpLocal(text: string): Local {
  const { listen, target } = parseSpec(text);
  return {
    target: formatPlace(target),
    listen: (tools) =>
      "path" in listen
        ? forwardUnix(tools.dial, { ...listen, target, ...tools })
        : forwardPort(tools.dial, { ...listen, target, ...tools }),
  };
}

function udpLocal(text: string): Local {
  const { listen, target } = parseSpec(text);
  if ("path" in listen || "path" in target) {
    throw invalid(`cannot forward ${JSON.stringify(text)} by UDP: expected ports on both sides`);
  }
  return {
    target: formatPlace(target),
    listen: (tools) => forwardUdp(tools.dial, { ...listen, target, ...tools }),
  };
}

/** A port alone is that of the other machine itself, and the same here. */
function parseSpec(text: string): { readonly listen: ForwardPlace; readonly target: ForwardPlace } {
  try {
    return parseLocalForward(/^[0-9]+$/.test(text) ? `${text}:localhost:${text}` : text);
  } catch (error) {
    throw invalid((error as Error).message, error);
  }
}

function invalid(message: string, cause?: unknown): CommandError {
  return new CommandError(message, {
    code: "FORWARD_INVALID",
    hint: "for example 5432, or 5432:localhost:5432",
    exitCode: ExitCode.USAGE,
    cause,
  });
}
