/**
 * Forwards as people write them: `[bind:]port:host:hostport`, as in `ssh -L`.
 *
 * @module
 */

import { formatHost, parseHost } from "@alknet/core/host";

export interface ForwardSpec {
  /** Local address to listen on: an IP address. */
  readonly bind: string;
  /** Local port; 0: the system picks one. */
  readonly port: number;
  /** What the far side connects to. IPv6 without brackets. */
  readonly target: { readonly host: string; readonly port: number };
}

/**
 * Parse a forward. Without `bind` it is `127.0.0.1`; `localhost` means that too, and `*` every address. IPv6
 * stands in brackets.
 *
 * @throws {SyntaxError} if `text` is anything else; the message quotes it.
 */
export function parseForward(text: string): ForwardSpec {
  const parts = split(text);
  if (parts?.length !== 3 && parts?.length !== 4) throw wrong(text, "[bind:]port:host:hostport");
  const [bind, port, host, hostPort] = parts.length === 4 ? parts : [undefined, ...parts];
  const target = parseHost(host!);
  if (target === undefined) throw wrong(text, `${JSON.stringify(host)} to be a host`);
  return {
    bind: parseBind(text, bind),
    port: parsePort(text, port!, 0),
    target: { host: formatHost(target), port: parsePort(text, hostPort!, 1) },
  };
}

/**
 * Parse a place to listen: `[bind:]port`.
 *
 * @throws {SyntaxError} if `text` is anything else; the message quotes it.
 */
export function parseListen(text: string): { readonly bind: string; readonly port: number } {
  const parts = split(text);
  if (parts?.length !== 1 && parts?.length !== 2) throw wrong(text, "[bind:]port");
  const [bind, port] = parts.length === 2 ? parts : [undefined, ...parts];
  return { bind: parseBind(text, bind), port: parsePort(text, port!, 0) };
}

/** Parts between colons; brackets keep theirs. */
function split(text: string): string[] | undefined {
  return /^(?:\[[^[\]]*\]|[^:[\]]*)(?::(?:\[[^[\]]*\]|[^:[\]]*))*$/.test(text)
    ? text.match(/\[[^[\]]*\]|[^:[\]]+|(?<=^|:)(?=:|$)/g)?.map(String)
    : undefined;
}

function parseBind(text: string, bind: string | undefined): string {
  if (bind === undefined || bind.toLowerCase() === "localhost") return "127.0.0.1";
  if (bind === "*" || bind === "") return "::";
  const host = parseHost(bind);
  if (host?.kind !== "address") {
    throw wrong(
      text,
      `${JSON.stringify(bind)} to be an address of this machine, "localhost" or "*"`,
    );
  }
  return formatHost(host);
}

function parsePort(text: string, port: string, lowest: 0 | 1): number {
  const value = /^[0-9]{1,5}$/.test(port) ? Number(port) : Number.NaN;
  if (value >= lowest && value <= 65_535) return value;
  throw wrong(text, `port ${JSON.stringify(port)} to be ${lowest} to 65535`);
}

function wrong(text: string, expected: string): SyntaxError {
  return new SyntaxError(
    `cannot parse ${JSON.stringify(text.slice(0, 200))}: expected ${expected}`,
  );
}
