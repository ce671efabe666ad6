/**
 * Forwards as people write them: `[bind:]port:host:hostport`, as in `ssh -L`.
 *
 * @module
 */

import { bindOf, hostOf, portOf, specParts, wrongSpec } from "./spec-parts.ts";

export interface ForwardSpec {
  /** Where to listen: an IP address, or `localhost`, which is both loopbacks. */
  readonly bind: string;
  /** Local port; 0: the system picks one. */
  readonly port: number;
  /** What the far side connects to. IPv6 without brackets. */
  readonly target: { readonly host: string; readonly port: number };
}

/**
 * Parse a forward. Without `bind` it is `localhost`; `*` means every address. IPv6 stands in brackets.
 *
 * @throws {SyntaxError} if `text` is anything else; the message quotes it.
 */
export function parseForward(text: string): ForwardSpec {
  const parts = specParts(text);
  if (parts?.length !== 3 && parts?.length !== 4)
    throw wrongSpec(text, "[bind:]port:host:hostport");
  const [bind, port, host, hostPort] = parts.length === 4 ? parts : [undefined, ...parts];
  return {
    bind: bindOf(text, bind),
    port: portOf(text, port!, 0),
    target: { host: hostOf(text, host!), port: portOf(text, hostPort!, 1) },
  };
}

/**
 * Parse a place to listen: `[bind:]port`.
 *
 * @throws {SyntaxError} if `text` is anything else; the message quotes it.
 */
export function parseListen(text: string): { readonly bind: string; readonly port: number } {
  const parts = specParts(text);
  if (parts?.length !== 1 && parts?.length !== 2) throw wrongSpec(text, "[bind:]port");
  const [bind, port] = parts.length === 2 ? parts : [undefined, ...parts];
  return { bind: bindOf(text, bind), port: portOf(text, port!, 0) };
}
