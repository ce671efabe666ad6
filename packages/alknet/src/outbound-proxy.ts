/**
 * The proxy that a node's configuration puts between it and all that its peers reach.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import type { ConfigTunnel } from "@alknet/core/config";
import { parseProxy, type Proxy } from "@alknet/tunnel/proxy";
import { CommandError } from "./command-error.ts";

/**
 * Read what the configuration at `path` says.
 *
 * @throws {CommandError} `CONFIG_INVALID` if the URL or the file with the password cannot be used: to go on without it would be to
 * go around it.
 */
export function outboundProxy(
  { proxy, proxyPasswordFile: file }: Pick<ConfigTunnel, "proxy" | "proxyPasswordFile">,
  path: string,
): Proxy | undefined {
  if (proxy === undefined) return undefined;
  try {
    const password = file === undefined ? undefined : readFileSync(file, "utf8");
    return parseProxy(proxy, password?.replace(/\r?\n$/, ""));
  } catch (error) {
    const key =
      (error as NodeJS.ErrnoException).syscall === undefined ? "proxy" : "proxy_password_file";
    throw new CommandError((error as Error).message, {
      code: "CONFIG_INVALID",
      hint: `correct ${key} of [tunnel] in ${path}`,
      cause: error,
    });
  }
}
