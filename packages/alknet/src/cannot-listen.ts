/**
 * What a command says that cannot listen here.
 *
 * @module
 */

import { CommandError } from "./command-error.ts";

/** @param error of the system; with a `path` it was to be a Unix socket. */
export function cannotListen(error: NodeJS.ErrnoException): CommandError {
  const { code, path, message } = error;
  return new CommandError(`cannot listen: ${message.replace(/^(?:listen|bind) /, "")}`, {
    code,
    hint: path === undefined ? portHint(error) : "choose another path for the socket",
    cause: error,
  });
}

/** What lets a program listen at a low port. */
export function lowPortHint(port: number): string {
  // Not setcap: it would have to name the Node that runs us, which is not the one in PATH.
  return `ports below 1024 need rights; on Linux: sudo sysctl net.ipv4.ip_unprivileged_port_start=${port}`;
}

function portHint(error: { readonly code?: string; readonly port?: number }): string {
  const { code, port = 0 } = error;
  if (code === "EACCES" && port > 0 && port < 1_024) return lowPortHint(port);
  return "choose another local port; 0 takes any that is free";
}
