/**
 * The addresses of a dial, in the order in which they are tried.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { DialError } from "./dial-error.ts";
import { formatHostPort, type HostPort } from "./host.ts";
import { formatIp, parseIp } from "./ip-address.ts";
import type { Route } from "./target.ts";
import type { Expected } from "./verify.ts";

/** Most addresses that are tried in one dial. */
const MAX_ADDRESSES = 32;

export interface Candidate {
  /** An IP address; of {@linkcode candidatesAsTheyAre} a name too. */
  readonly address: string;
  readonly port: number;
  /** Host name that it was found by. */
  readonly serverName: string | undefined;
}

/**
 * Resolve the addresses of a route: each once, IPv6 and IPv4 in turn (RFC 8305 §4), else in their order.
 *
 * @returns at once, if no name has to be resolved.
 * @throws {DialError} `NAME_NOT_FOUND` if there are none; one name that is not found is left out.
 */
export function candidatesOf(
  route: Pick<Route, "addresses" | "expected">,
  resolve: (host: string) => Promise<readonly string[]>,
): readonly Candidate[] | Promise<readonly Candidate[]> {
  let candidates = literals.get(route);
  if (candidates === undefined) {
    const found = route.addresses.map((address) => literalAt(address, route.expected));
    if (!found.every((it) => it !== undefined)) return resolved(route, resolve);
    candidates = inTurn(found);
    literals.set(route, candidates);
  }
  return candidates;
}

/** The addresses of a route, in their order, for who resolves names elsewhere. */
export function candidatesAsTheyAre({ addresses }: Pick<Route, "addresses">): readonly Candidate[] {
  const all = addresses.map(({ host, port }) => {
    const isName = parseIp(host) === undefined;
    return { address: host, port, serverName: isName ? host : undefined };
  });
  return unique(all).slice(0, MAX_ADDRESSES);
}

/** Of routes that need no names: they are the same each time. */
const literals = new WeakMap<object, readonly Candidate[]>();

async function resolved(
  { addresses, expected }: Pick<Route, "addresses" | "expected">,
  resolve: (host: string) => Promise<readonly string[]>,
): Promise<readonly Candidate[]> {
  const problems: unknown[] = [];
  const found = await Promise.all(
    addresses.map(async (address) => {
      try {
        return await candidatesAt(address, expected, resolve);
      } catch (error) {
        problems.push(error);
        return [];
      }
    }),
  );
  const candidates = inTurn(found.flat());
  if (candidates.length > 0) return candidates;
  const names = addresses.map(({ host }) => JSON.stringify(host)).join(", ");
  throw new DialError("NAME_NOT_FOUND", `no address is known for ${names}`, {
    cause: problems[0],
    final: true,
    hint: `see whether it resolves: getent hosts ${addresses[0]!.host}; or dial an IP address`,
  });
}

function literalAt({ host, port }: HostPort, expected: Expected): Candidate | undefined {
  if (parseIp(host) === undefined) return undefined;
  return { address: host, port, serverName: expected.kind === "name" ? expected.host : undefined };
}

function inTurn(candidates: readonly Candidate[]): Candidate[] {
  return interleave(unique(candidates)).slice(0, MAX_ADDRESSES);
}

async function candidatesAt(
  { host, port }: HostPort,
  expected: Expected,
  resolve: (host: string) => Promise<readonly string[]>,
): Promise<Candidate[]> {
  const literal = literalAt({ host, port }, expected);
  if (literal !== undefined) return [literal];
  const found = await resolve(host);
  return found.flatMap((text) => {
    const address = parseIp(text);
    // A zone (`fe80::1%eth0`) is needed to get there, and known to the system only.
    const kept = address !== undefined && !text.includes("%") ? formatIp(address) : text;
    return address === undefined ? [] : [{ address: kept, port, serverName: host }];
  });
}

/** Ask the system, in the order in which it prefers them. */
export async function systemResolve(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
}

function unique(candidates: readonly Candidate[]): Candidate[] {
  const seen = new Set<string>();
  return candidates.filter((candidate) => {
    const key = keyOf(candidate);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function interleave(candidates: readonly Candidate[]): Candidate[] {
  const six = candidates.filter(({ address }) => address.includes(":"));
  const four = candidates.filter(({ address }) => !address.includes(":"));
  return Array.from({ length: Math.max(six.length, four.length) }, (_, i) => [six[i], four[i]])
    .flat()
    .filter((it) => it !== undefined);
}

/** `address:port` */
export function keyOf({ address, port }: Candidate): string {
  return formatHostPort({ host: address, port });
}
