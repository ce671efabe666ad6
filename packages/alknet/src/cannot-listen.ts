/**
 * What a command says that cannot listen here.
 *
 * @module
 */

import { CommandError } from "./command-error.ts";

/** @param error of the system; with a `path` it was to be a Unix socket. */
export function cannotListen(error: NodeJS.ErrnoException): CommandError {
  const { code, path, message } = error;
  return new CommandError(`cannot listen: ${message.replace(/^listen /, "")}`, {
    code,
    hint:
      path === undefined
        ? "choose another local port; 0 takes any that is free"
        : "choose another path for the socket",
    cause: error,
  });
}
