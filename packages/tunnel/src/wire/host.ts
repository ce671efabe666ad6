/**
 * Hosts as they travel: an IPv4 address, an IPv6 address without brackets, or a DNS name.
 *
 * One spelling only. What `inet_aton` also takes for an address (`127.1`, `0x7f000001`, `017700000001`)
 * is refused, so that no name is one thing to the rights of a peer and another to the resolver.
 *
 * Pure: no I/O.
 *
 * @module
 */

import { isIP } from "node:net";

/** Longest host, in characters: a name of RFC 1035 §2.3.4. */
export const MAX_HOST: number = 253;

/** Letters, digits, hyphen and underscore (SRV-like names); RFC 1123 §2.1 and RFC 2181 §11. */
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * Parse the host of a target. Names come back in lower case and without a final dot, as rights compare them.
 *
 * @throws {SyntaxError} if `text` is neither an address nor a name; the message quotes it.
 */
export function parseHost(text: string): string {
  const host = text.toLowerCase();
  const name = host.endsWith(".") ? host.slice(0, -1) : host;
  if (name.length > 0 && name.length <= MAX_HOST) {
    // A zone (`fe80::1%eth0`) names an interface of one machine: it means nothing on another.
    if (isIP(host) !== 0 && !host.includes("%")) return host;
    const labels = name.split(".");
    const last = labels.at(-1)!;
    // WHATWG URL §3.5: what ends in a number is an address, and if it is none, it is nothing.
    const numeric = /^(?:[0-9]+|0x[0-9a-f]*)$/.test(last);
    if (!numeric && labels.every((part) => label.test(part))) return name;
  }
  throw new SyntaxError(
    `cannot parse host ${JSON.stringify(text.slice(0, 100))}: expected a name, an IPv4 address, or an IPv6 address`,
  );
}

/** `host:port` for people, with brackets around IPv6. */
export function formatTarget(target: { readonly host: string; readonly port: number }): string {
  return target.host.includes(":")
    ? `[${target.host}]:${target.port}`
    : `${target.host}:${target.port}`;
}
