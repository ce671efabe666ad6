/**
 * `alknet forward`: ports of another machine as local ones.
 *
 * @module
 */

import { formatHostPort } from "@alknet/core/host";
import { forward as forwardPort } from "@alknet/tunnel/forward";
import { type ForwardSpec, parseForward } from "@alknet/tunnel/forward-spec";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { runLocalListeners } from "../local-listeners.ts";

export interface ForwardCommandOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function forward(
  context: Context,
  target: string,
  texts: readonly string[],
  { json, verbose, transports }: ForwardCommandOptions,
): Promise<void> {
  await runLocalListeners(context, {
    target,
    transports,
    json,
    verbose,
    locals: texts.map(parseSpec).map(({ bind, port, target: to }) => ({
      target: formatHostPort(to),
      listen: (tools) => forwardPort(tools.dial, { host: bind, port, target: to, ...tools }),
    })),
    describe: (places) => ({
      document: { forwards: places },
      words: places.map(({ listen, target: to }) => `${listen} -> ${to}`),
    }),
  });
}

function parseSpec(text: string): ForwardSpec {
  try {
    return parseForward(text);
  } catch (error) {
    throw new CommandError((error as Error).message, {
      code: "FORWARD_INVALID",
      hint: "for example 5432:localhost:5432",
      exitCode: ExitCode.USAGE,
      cause: error,
    });
  }
}
