/**
 * `alknet expose`: ports of this machine on another one.
 *
 * @module
 */

import { keepExposed } from "@alknet/tunnel/keep-exposed";
import { FlowRefused } from "@alknet/tunnel/refused";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { type Local, type Running, runLocalListeners } from "../local-listeners.ts";
import { type ForwardPlace, formatPlace, parseRemoteForward } from "../ssh-forward-spec.ts";

export interface ExposeCommandOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function expose(
  context: Context,
  target: string,
  texts: readonly string[],
  { json, verbose, transports }: ExposeCommandOptions,
): Promise<void> {
  await runLocalListeners(context, {
    target,
    transports,
    json,
    verbose,
    locals: texts.map(parseSpec).map(localOf),
    describe: (places) => ({
      document: { exposes: places.map(({ listen, target: to }) => ({ listen, target: to })) },
      words: places.map(({ listen, target: to }) => `${listen} over there -> ${to}`),
    }),
  });
}

interface ExposeSpec {
  readonly place: ForwardPlace;
  readonly target: ForwardPlace;
}

function localOf({ place, target }: ExposeSpec): Local {
  return {
    target: formatPlace(target),
    far: true,
    async listen({ dial, logger, signal, onfailure, onlost, onback }): Promise<Running> {
      try {
        const kept = await keepExposed(dial, {
          place,
          target,
          signal,
          logger,
          onfailure: (error) => onfailure(error),
          onlost,
          onback: (got) => onback(formatPlace(got)),
        });
        return Object.assign(kept, { address: formatPlace(kept.place) });
      } catch (error) {
        throw cannotExpose(error, place);
      }
    },
  };
}

function parseSpec(text: string): ExposeSpec {
  try {
    const { listen: place, target } = parseRemoteForward(text);
    if (target !== undefined) return { place, target };
    throw new SyntaxError(
      `cannot parse ${JSON.stringify(text)}: expected [bind:]port:host:hostport`,
    );
  } catch (error) {
    throw new CommandError((error as Error).message, {
      code: "EXPOSE_INVALID",
      hint: "for example 8080:localhost:3000",
      exitCode: ExitCode.USAGE,
      cause: error,
    });
  }
}

function cannotExpose(error: unknown, place: ForwardPlace): unknown {
  if (!(error instanceof FlowRefused) || error.refusal !== "in-use") return error;
  const hint =
    "path" in place
      ? "choose another path, or remove what is there if nobody uses it"
      : "choose another port; 0 takes any that is free";
  return new CommandError(`cannot expose at ${error.message} over there`, {
    code: "IN_USE",
    hint,
    cause: error,
  });
}
