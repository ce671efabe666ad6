/**
 * Forwards of `alknet ssh` as people write them, as in `ssh`: `-L`, `-R` and `-D`.
 *
 * ```text
 * -L  [bind:]port:host:hostport   [bind:]port:/socket   /socket:host:hostport   /socket:/socket
 * -R  the same, where the first part is over there; and [bind:]port alone: SOCKS over there, connected from here
 * -D  [bind:]port
 * ```
 *
 * @module
 */

import { parseListen } from "@alknet/tunnel/forward-spec";
import { bindOf, hostOf, portOf, specParts, wrongSpec } from "@alknet/tunnel/spec-parts";
import { formatHostPort, type HostPort } from "@alknet/core/host";

/** A TCP port, or a Unix socket by its absolute path. */
export type ForwardPlace = HostPort | { readonly path: string };

export interface SshForward {
  /** As it was written. */
  readonly text: string;
  readonly listen: ForwardPlace;
  /** `undefined`: wherever each client asks for, by SOCKS. */
  readonly target: ForwardPlace | undefined;
}

/** `-L`. @throws {SyntaxError} that quotes the text */
export function parseLocalForward(text: string): SshForward & { readonly target: ForwardPlace } {
  const { target, ...forward } = forwardOf(text, bindOf, false);
  if (target === undefined) throw wrongSpec(text, EXPECTED);
  return { ...forward, target };
}

/**
 * `-R`. Without an address it is `localhost` over there; `*`, or nothing before the colon, is every address.
 *
 * @throws {SyntaxError} that quotes the text
 */
export function parseRemoteForward(text: string): SshForward {
  return forwardOf(text, remoteBindOf, true);
}

/** `-D`. @throws {SyntaxError} that quotes the text */
export function parseDynamicForward(text: string): SshForward {
  const { bind, port } = parseListen(text);
  return { text, listen: { host: bind, port }, target: undefined };
}

/** `host:port`, or a socket by its path. @throws {SyntaxError} that quotes the text */
export function parsePlace(text: string): ForwardPlace {
  if (isPath(text)) return { path: text };
  const [host, port, ...more] = specParts(text) ?? [];
  if (host === undefined || port === undefined || more.length > 0) {
    throw wrongSpec(text, "host:port, or the absolute path of a socket");
  }
  return { host: hostOf(text, host), port: portOf(text, port, 1) };
}

/** `127.0.0.1:8080`, `[::1]:8080`, `/run/app.sock`; every address over there is `*`. */
export function formatPlace(place: ForwardPlace): string {
  if ("path" in place) return place.path;
  return place.host === "" ? `*:${place.port}` : formatHostPort(place);
}

function forwardOf(
  text: string,
  bindIn: (text: string, bind: string | undefined) => string,
  mayBeSocks: boolean,
): SshForward {
  const parts = specParts(text);
  if (parts === undefined || parts.length > 4) throw wrongSpec(text, EXPECTED);
  const [first = ""] = parts;
  // The target is taken off the end first: a bind address is the only part that may be left out.
  const target = takeTarget(text, parts, mayBeSocks);
  if (isPath(first) && parts.length === 1) {
    if (target === undefined) throw wrongSpec(text, EXPECTED);
    return { text, listen: { path: first }, target };
  }
  if (parts.length !== 1 && parts.length !== 2) throw wrongSpec(text, EXPECTED);
  const [bind, port = ""] = parts.length === 2 ? parts : [undefined, ...parts];
  return { text, listen: { host: bindIn(text, bind), port: portOf(text, port, 0) }, target };
}

/** Take the target off the end of `parts`. */
function takeTarget(text: string, parts: string[], mayBeSocks: boolean): ForwardPlace | undefined {
  if (parts.length > 1 && isPath(parts.at(-1) ?? "")) return { path: parts.pop() ?? "" };
  const isSocks = mayBeSocks && !isPath(parts[0] ?? "") && parts.length <= 2;
  if (isSocks) return undefined;
  if (parts.length < 3) throw wrongSpec(text, EXPECTED);
  const [host = "", port = ""] = parts.splice(-2);
  return { host: hostOf(text, host), port: portOf(text, port, 1) };
}

function remoteBindOf(text: string, bind: string | undefined): string {
  if (bind === undefined) return "localhost";
  return bind === "" || bind === "*" ? "" : hostOf(text, bind);
}

function isPath(part: string): boolean {
  return part.startsWith("/");
}

const EXPECTED = "[bind:]port:host:hostport, or the absolute path of a socket on either side";
