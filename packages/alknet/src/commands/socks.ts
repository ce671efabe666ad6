/**
 * `alknet socks`: a local SOCKS 5 proxy whose connections come from another machine.
 *
 * @module
 */

import { parseListen } from "@alknet/tunnel/forward-spec";
import { socks as serveSocks } from "@alknet/tunnel/socks";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { runLocalListeners } from "../local-listeners.ts";

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
  const { bind, port } = parseWhere(listen);
  await runLocalListeners(context, {
    target,
    transports,
    json,
    verbose,
    locals: [
      {
        target: undefined,
        listen: (tools) => serveSocks(tools.dial, { host: bind, port, ...tools }),
      },
    ],
    describe([place]) {
      const where = place!.listen;
      const words = [
        `SOCKS 5 on ${where}, names resolved over there:`,
        `  curl --socks5-hostname ${where} http://...`,
      ];
      return { document: { listen: where }, words };
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
