/**
 * `alknet socks`: a local SOCKS 5 proxy whose connections come from another machine.
 *
 * @module
 */

import { formatHostPort } from "@alknet/core/host";
import { parseListen } from "@alknet/tunnel/forward-spec";
import { socks as serveSocks } from "@alknet/tunnel/socks";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { runLocalListeners } from "../local-listeners.ts";
import { printJson, say } from "../terminal.ts";
import { describeWay } from "./ping.ts";

export interface SocksCommandOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly listen: string;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function socks(
  context: Context,
  target: string,
  { json, verbose, listen, transports }: SocksCommandOptions,
): Promise<void> {
  const { terminal } = context;
  const { bind, port } = parseWhere(listen);
  await runLocalListeners(context, {
    target,
    transports,
    verbose,
    listen: ({ dial, logger, onfailure }) => [
      () => serveSocks(dial, { host: bind, port, logger, onfailure: onfailure("socks") }),
    ],
    ready([listener], way) {
      const at = listener!.address;
      const where = formatHostPort({ host: at.address, port: at.port });
      if (json) {
        const { transport, address, peer, rtt } = way;
        printJson(terminal, { listen: where, transport, address, peer, rtt });
        return;
      }
      if (!terminal.words.isTerminal) return;
      say(terminal, describeWay(way));
      say(terminal, `SOCKS 5 on ${where}, names resolved over there:`);
      say(terminal, `  curl --socks5-hostname ${where} http://...`);
    },
  });
}

function parseWhere(text: string): { bind: string; port: number } {
  try {
    return parseListen(text);
  } catch (error) {
    throw new CommandError((error as Error).message, {
      code: "LISTEN_INVALID",
      hint: "for example --listen 127.0.0.1:1080",
      exitCode: ExitCode.USAGE,
      cause: error,
    });
  }
}
