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
import { printJson, say } from "../terminal.ts";
import { describeWay } from "./ping.ts";

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
  const { terminal } = context;
  const specs = texts.map(parseSpec);
  await runLocalListeners(context, {
    target,
    transports,
    verbose,
    listen: ({ dial, logger, onfailure }) =>
      specs.map(({ bind, port, target: to }) => () => {
        const name = formatHostPort({ host: bind, port });
        const options = { host: bind, port, target: to, logger, onfailure: onfailure(name) };
        return forwardPort(dial, options);
      }),
    ready(listeners, way) {
      const forwards = listeners.map(({ address: { address, port } }, index) => ({
        listen: formatHostPort({ host: address, port }),
        target: formatHostPort(specs[index]!.target),
      }));
      if (json) {
        const { transport, address, peer, rtt } = way;
        printJson(terminal, { forwards, transport, address, peer, rtt });
        return;
      }
      if (!terminal.words.isTerminal) return;
      say(terminal, describeWay(way));
      for (const { listen, target: to } of forwards) say(terminal, `${listen} -> ${to}`);
    },
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
