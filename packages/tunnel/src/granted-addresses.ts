/**
 * Addresses of a target that a peer may reach, each with its right.
 *
 * @module
 */

import { isIP } from "node:net";
import { AccessDenied, type AuthContext, type Grant } from "@alknet/core/access";
import { notAllowed, ownSocket } from "./connect-failure.ts";
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
 * @throws {FlowRefused} if there is none.
 * @throws what `resolve` does, or the reason of `signal`.
 */
export async function grantedAddresses(
  auth: AuthContext,
  target: Target,
  { resolve, isOwn = () => false }: Finding,
  signal: AbortSignal,
): Promise<Candidate[]> {
  const { host, port } = target;
  const known = knownAddresses(host);
  // Who may reach no address under that name has nothing looked up: it is nobody's resolver.
  if (known === undefined && !auth.allows("tunnel:dial", { host, port })) {
    throw notAllowed(auth, target);
  }
  const candidates: Candidate[] = [];
  let denied: AccessDenied | undefined;
  let own = false;
  try {
    for (const address of known ?? (await lookedUp(host, resolve, signal))) {
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
    throw error;
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
  return knownAddresses(host) ?? (await lookedUp(host, resolve, signal));
}

/** Addresses that are no question for a network: of an address, and of `localhost` (RFC 6761 §6.3). */
function knownAddresses(host: string): readonly string[] | undefined {
  if (isIP(host) !== 0) return [host];
  return host === "localhost" || host.endsWith(".localhost") ? ["::1", "127.0.0.1"] : undefined;
}

async function lookedUp(
  host: string,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const found = await withSignal(resolve(host), signal);
  if (found.length === 0) throw Object.assign(new Error("no address"), { code: "ENOTFOUND" });
  return interleaved(found).slice(0, MAX_CANDIDATES);
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
