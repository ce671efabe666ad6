/**
 * `alknet socks`: a local proxy, SOCKS and HTTP CONNECT, whose connections come from another machine.
 *
 * @module
 */

import { parseListen } from "@alknet/tunnel/forward-spec";
import { type PrivateFile, readPrivateFile } from "@alknet/core/private-file";
import { checkLogin, type ProxyLogin } from "@alknet/tunnel/proxy-gate";
import { socks as serveSocks } from "@alknet/tunnel/socks";
import { associateUdp } from "@alknet/tunnel/socks-udp";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { runLocalListeners } from "../local-listeners.ts";
import { shellWord } from "../shell-word.ts";

export interface SocksCommandOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  /** The place to listen, where it is not an argument. */
  readonly listen?: string | undefined;
  /** Who may use the proxy; goes with a file that has the password in its first line. */
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

export async function socks(
  context: Context,
  target: string,
  place: string | undefined,
  { json, verbose, listen, user, passwordFile, transports }: SocksCommandOptions,
): Promise<void> {
  const { bind, port } = parseWhere(place, listen);
  const login = loginOf(user, passwordFile);
  await runLocalListeners(context, {
    target,
    transports,
    json,
    verbose,
    locals: [
      {
        target: undefined,
        listen(tools) {
          const { onfailure } = tools;
          const associate = associateUdp(tools.dial, { onfailure, announced: login !== undefined });
          return serveSocks(tools.dial, { host: bind, port, login, associate, ...tools });
        },
      },
    ],
    describe([got]) {
      const where = got!.listen;
      const withLogin = login === undefined ? "" : ` --proxy-user ${shellWord(login.user)}`;
      const words = [
        `proxy on ${where} (SOCKS 5, SOCKS 4a, HTTP CONNECT), names resolved over there:`,
        `  curl --socks5-hostname ${where}${withLogin} http://...`,
      ];
      return { document: { listen: where, login: login !== undefined }, words };
    },
  });
}

/** @throws {CommandError} if there is one without the other, or the file cannot be read. */
function loginOf(
  user: string | undefined,
  passwordFile: string | undefined,
): ProxyLogin | undefined {
  if (user === undefined && passwordFile === undefined) return undefined;
  if (user === undefined || passwordFile === undefined) {
    throw new CommandError("cannot ask for a login: expected --user and --password-file together", {
      code: "LOGIN_INVALID",
      hint: "alknet socks TARGET --user NAME --password-file FILE",
      exitCode: ExitCode.USAGE,
    });
  }
  const login = { user, password: passwordIn(passwordFile) };
  try {
    // Now, and not when the node has been reached.
    checkLogin(login);
  } catch (error) {
    throw new CommandError((error as Error).message, {
      code: "LOGIN_INVALID",
      hint: `the password is the first line of ${passwordFile}`,
      exitCode: ExitCode.USAGE,
      cause: error,
    });
  }
  return login;
}

function passwordIn(path: string): string {
  let file: PrivateFile | undefined;
  try {
    file = readPrivateFile(path);
  } catch (error) {
    throw new CommandError(`cannot read password from ${path}: ${(error as Error).message}`, {
      code: "LOGIN_INVALID",
      cause: error,
    });
  }
  if (file === undefined) {
    throw new CommandError(`cannot read password: no file ${path}`, { code: "LOGIN_INVALID" });
  }
  if (file.openTo !== undefined) {
    throw new CommandError(`cannot use ${path}: mode ${file.openTo}, others may read it`, {
      code: "FILE_PERMISSIONS",
      hint: `chmod 600 ${shellWord(path)}`,
    });
  }
  return file.text.split(/\r?\n/, 1)[0]!;
}

function parseWhere(
  argument: string | undefined,
  option: string | undefined,
): { readonly bind: string; readonly port: number } {
  try {
    if (argument !== undefined && option !== undefined) {
      throw new SyntaxError(`cannot listen at ${argument} and at ${option}: expected one of them`);
    }
    return parseListen(argument ?? option ?? "1080");
  } catch (error) {
    throw new CommandError((error as Error).message, {
      code: "LISTEN_INVALID",
      hint: "for example 1080, or 127.0.0.1:1080",
      exitCode: ExitCode.USAGE,
      cause: error,
    });
  }
}
