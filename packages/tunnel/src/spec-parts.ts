/**
 * What forwards as people write them consist of: ports, addresses and hosts between colons.
 *
 * @module
 */

import { formatHost, parseHost } from "@alknet/core/host";

/** Parts between colons; brackets keep theirs. `undefined`: they do not match. */
export function specParts(text: string): string[] | undefined {
  return /^(?:\[[^[\]]*\]|[^:[\]]*)(?::(?:\[[^[\]]*\]|[^:[\]]*))*$/.test(text)
    ? text.match(/\[[^[\]]*\]|[^:[\]]+|(?<=^|:)(?=:|$)/g)?.map(String)
    : undefined;
}

/** An address of this machine to listen on, or `localhost`: both loopbacks. @throws {SyntaxError} */
export function bindOf(text: string, bind: string | undefined): string {
  if (bind === undefined || bind.toLowerCase() === "localhost") return "localhost";
  if (bind === "*" || bind === "") return "::";
  const host = parseHost(bind);
  if (host?.kind !== "address") {
    throw wrongSpec(
      text,
      `${JSON.stringify(bind)} to be an address of this machine, "localhost" or "*"`,
    );
  }
  return formatHost(host);
}

/** A name in its normal form, or an address without brackets. @throws {SyntaxError} */
export function hostOf(text: string, host: string): string {
  const parsed = parseHost(host);
  if (parsed === undefined) throw wrongSpec(text, `${JSON.stringify(host)} to be a host`);
  return formatHost(parsed);
}

/** @throws {SyntaxError} */
export function portOf(text: string, port: string, lowest: 0 | 1): number {
  const value = /^[0-9]{1,5}$/.test(port) ? Number(port) : Number.NaN;
  if (value >= lowest && value <= 65_535) return value;
  throw wrongSpec(text, `port ${JSON.stringify(port)} to be ${lowest} to 65535`);
}

export function wrongSpec(text: string, expected: string): SyntaxError {
  return new SyntaxError(
    `cannot parse ${JSON.stringify(text.slice(0, 200))}: expected ${expected}`,
  );
}
