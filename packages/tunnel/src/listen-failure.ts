/**
 * What a failure to listen means to the peer who asked.
 *
 * @module
 */

import { FlowRefused } from "./refused.ts";
import type { Refusal } from "./wire/open.ts";

/** What error codes of the system mean. */
const meanings: Readonly<Record<string, readonly [Refusal, string]>> = {
  EADDRINUSE: ["in-use", "something is there already"],
  EADDRNOTAVAIL: ["host-unreachable", "not an address of that machine"],
  EAFNOSUPPORT: ["host-unreachable", "that machine has no such addresses"],
  EACCES: ["not-allowed", "that machine does not let its node listen there"],
  EPERM: ["not-allowed", "that machine does not let its node listen there"],
  EROFS: ["not-allowed", "that machine does not let its node listen there"],
  ENOENT: ["host-unreachable", "its folder does not exist there"],
  ENOTDIR: ["host-unreachable", "its folder does not exist there"],
  ELOOP: ["host-unreachable", "its folder does not exist there"],
  ENAMETOOLONG: ["failed", "the path is too long for a socket"],
  EMFILE: ["limit", "out of sockets"],
  ENFILE: ["limit", "out of sockets"],
  ACCESS_REVOKED: ["not-allowed", "not allowed any more"],
};

/** The refusal that says why there is no listener at `place`. */
export function listenFailure(error: unknown, place: string): FlowRefused {
  if (error instanceof FlowRefused) return error;
  const { code = "" } = error as NodeJS.ErrnoException;
  const [refusal, text] = meanings[code] ?? (["failed", "failed"] as const);
  return new FlowRefused(refusal, `${place}: ${text}`, { cause: error });
}

/** Whether this machine does not have the address. */
export function isNoAddress(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT";
}
