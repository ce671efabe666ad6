/**
 * What a failure to connect means to the peer who asked.
 *
 * @module
 */

import { AccessDenied, type AuthContext } from "@alknet/core/access";
import { FlowRefused } from "./refused.ts";
import { formatTarget } from "./wire/host.ts";
import type { Refusal } from "./wire/open.ts";

/** What a right to dial is asked for. */
export type DialResource =
  | { readonly host: string; readonly port: number; readonly address?: string | undefined }
  | { readonly host: string; readonly port: number; readonly elsewhere: true }
  | { readonly unixPath: string };

/** What error codes of the system mean. In the order of what tells most. */
const meanings: readonly (readonly [Refusal, string, readonly string[]])[] = [
  ["not-allowed", "not allowed any more", ["ACCESS_REVOKED", "ACCESS_DENIED"]],
  ["refused", "connection refused", ["ECONNREFUSED", "ECONNRESET"]],
  ["timed-out", "timed out", ["ETIMEDOUT", "TimeoutError", "ETIMEOUT"]],
  ["host-not-found", "name not found", ["ENOTFOUND", "ENODATA", "EAI_NONAME", "EAI_NODATA"]],
  ["host-not-found", "the name server gives no answer", ["EAI_AGAIN", "EAI_FAIL", "ESERVFAIL"]],
  ["host-not-found", "no such socket", ["ENOENT", "ENOTDIR", "ELOOP"]],
  ["host-unreachable", "host unreachable", ["EHOSTUNREACH", "EHOSTDOWN", "EACCES", "EPERM"]],
  [
    "network-unreachable",
    "network unreachable",
    ["ENETUNREACH", "ENETDOWN", "EAFNOSUPPORT", "EADDRNOTAVAIL", "EINVAL"],
  ],
  ["limit", "out of sockets", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN"]],
];

/** The refusal that says why connecting to `target` failed; of an `AggregateError`, by the error that tells most. */
export function refusedFor(failure: unknown, target: string): FlowRefused {
  if (failure instanceof FlowRefused) return failure;
  const error = failure instanceof AggregateError ? mostTelling(failure.errors) : failure;
  if (error instanceof FlowRefused) return error;
  const [refusal, text] = meanings[rank(error)] ?? ["failed", "failed"];
  return new FlowRefused(refusal, `${target}: ${text}`, { cause: error });
}

/** The refusal that names the scope which `auth` lacks. */
export function notAllowed(
  auth: AuthContext,
  resource: DialResource,
  denied?: AccessDenied,
): FlowRefused {
  let cause = denied;
  if (cause === undefined) {
    try {
      auth.grant("tunnel:dial", resource)[Symbol.dispose]();
    } catch (error) {
      if (error instanceof AccessDenied) cause = error;
    }
  }
  const missing = cause === undefined ? "" : `, this key lacks ${cause.missing}`;
  const target = "unixPath" in resource ? resource.unixPath : formatTarget(resource);
  return new FlowRefused("not-allowed", `${target}: not allowed${missing}`, { cause });
}

/** The refusal of a target that is a socket of the node itself. */
export function ownSocket(target: string): FlowRefused {
  return new FlowRefused("not-allowed", `${target}: Alknet's own socket, which no forward reaches`);
}

function rank(error: unknown): number {
  const { code, name } = error as { code?: unknown; name?: unknown };
  const at = meanings.findIndex(([, , codes]) =>
    codes.some((known) => known === code || known === name),
  );
  return at < 0 ? meanings.length : at;
}

function mostTelling(errors: readonly unknown[]): unknown {
  return errors.toSorted((a, b) => rank(a) - rank(b))[0];
}
