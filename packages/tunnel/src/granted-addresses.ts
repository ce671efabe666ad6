/**
 * Addresses of a target that a peer may reach, each with its right.
 *
 * @module
 */

import { isIP } from "node:net";
import { AccessDenied, type AuthContext, type Grant } from "@alknet/core/access";
import { notAllowed, ownSocket, refusedFor } from "./connect-failure.ts";
import { formatTarget } from "./wire/host.ts";

/** Addresses of a name, IPv4 and IPv6, best first. Rejects with `code` `ENOTFOUND` when there is none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export interface Target {
  /** A name in lower case, or an address; see `parseHost`. */
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
}

/** An address and the right to it. Who gets it disposes of the grant. */
export interface Candidate {
  readonly address: string;
  readonly grant: Grant;
}

/** What it takes to find them. */
export interface Finding {
  readonly resolve: Resolve;
  /** Whether an address and port are the node's own, which no forward reaches. @default none is */
  readonly isOwn?: ((address: string, port: number) => boolean) | undefined;
}

/** Addresses of one name that are tried, at most. */
const MAX_CANDIDATES = 16;

/**
 * Look `target` up for `auth`. At least one address comes back, in the order in which to try them.
 *
 * @param late gives up too, as a time-out.
 * @throws {FlowRefused} with the reason that tells most.
 * @throws the reason of `signal`, when that is what ended it.
 */
export async function grantedAddresses(
  auth: AuthContext,
  target: Target,
  { resolve, isOwn = () => false }: Finding,
  { signal, late }: { readonly signal: AbortSignal; readonly late: AbortSignal },
): Promise<Candidate[]> {
  const { host, port } = target;
  // Who may reach no address under that name has nothing looked up: it is nobody's resolver.
  if (!auth.allows("tunnel:dial", { host, port })) throw notAllowed(auth, target);
  const candidates: Candidate[] = [];
  let denied: AccessDenied | undefined;
  let own = false;
  try {
    for (const address of await addressesOf(host, resolve, AbortSignal.any([signal, late]))) {
      try {
        const grant = auth.grant("tunnel:dial", { host, port, address });
        if (isOwn(address, port)) {
          grant[Symbol.dispose]();
          own = true;
        } else candidates.push({ address, grant });
      } catch (error) {
        if (!(error instanceof AccessDenied)) throw error;
        denied ??= error;
      }
    }
  } catch (error) {
    for (const { grant } of candidates) grant[Symbol.dispose]();
    signal.throwIfAborted();
    throw refusedFor(error, formatTarget(target));
  }
  if (candidates.length > 0) return candidates;
  throw own ? ownSocket(formatTarget(target)) : notAllowed(auth, target, denied);
}

/**
 * Addresses of `host`, in the order in which to try them, at most 16.
 *
 * @throws what `resolve` throws, or the reason of `signal`.
 */
export async function addressesOf(
  host: string,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const found = await withSignal(lookedUp(host, resolve), signal);
  if (found.length === 0) throw Object.assign(new Error("no address"), { code: "ENOTFOUND" });
  return interleaved(found).slice(0, MAX_CANDIDATES);
}

async function lookedUp(host: string, resolve: Resolve): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  // RFC 6761 §6.3: never a question for a network.
  if (host === "localhost" || host.endsWith(".localhost")) return ["::1", "127.0.0.1"];
  return await resolve(host);
}

/** RFC 8305 §4: the families take turns, and the resolver's first choice goes first. */
function interleaved(addresses: readonly string[]): string[] {
  const first = isIP(addresses[0] ?? "");
  const mine = addresses.filter((address) => isIP(address) === first);
  const others = addresses.filter((address) => isIP(address) !== first);
  const result: string[] = [];
  for (let at = 0; at < Math.max(mine.length, others.length); at++) {
    result.push(...mine.slice(at, at + 1), ...others.slice(at, at + 1));
  }
  return [...new Set(result)];
}

/** `promise`, or the reason of `signal`. The promise itself goes on, unheard. */
function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => settle(() => reject(signal.reason as Error));
    const settle = (end: () => void) => {
      signal.removeEventListener("abort", aborted);
      end();
    };
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: Error) => settle(() => reject(error)),
    );
    if (signal.aborted) aborted();
    else signal.addEventListener("abort", aborted, { once: true });
  });
}
