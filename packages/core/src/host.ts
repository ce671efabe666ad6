/**
 * Hosts as people and peers write them: an IP address, or a DNS name in its one normal form.
 *
 * @module
 */

import { domainToASCII } from "node:url";
import { invalidText } from "./invalid-text.ts";
import { formatIp, type IpAddress, parseIp } from "./ip-address.ts";

/** A name is lower case, in A-labels (RFC 5890), without the trailing dot. */
export type Host =
  | { readonly kind: "address"; readonly address: IpAddress }
  | { readonly kind: "name"; readonly name: string };

/** A host and a port, 0 to 65,535. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Read a host: an IP address (IPv6 with or without brackets), or a name in any case, with or without a
 * trailing dot, in Unicode or in A-labels (UTS #46, as browsers do).
 *
 * What a resolver would take for an IPv4 address (`127.1`, `0x7f.1`, `2130706433`) is that address.
 *
 * @returns `undefined` for anything else.
 */
export function parseHost(text: string): Host | undefined {
  if (text.length > 1_024) return undefined;
  if (isPlainName(text)) return { kind: "name", name: text };
  const bare = /^\[.*:.*\]$/.test(text) ? text.slice(1, -1) : text;
  const address = parseIp(bare);
  if (address !== undefined) return { kind: "address", address };
  const name = normalName(text);
  if (name === undefined) return undefined;
  // The WHATWG host parser has turned every odd form of IPv4 into the dotted one.
  const odd = parseIp(name);
  return odd === undefined ? { kind: "name", name } : { kind: "address", address: odd };
}

/**
 * Whether `text` is a name in normal form beyond doubt, as nearly all are: the domain functions take some
 * microseconds, and this is asked for every grant.
 *
 * A last label of digits or `0x…` may be an IPv4 address; A-labels have to be looked into.
 */
function isPlainName(text: string): boolean {
  return (
    text.length <= 253 &&
    !text.includes("xn--") &&
    /^(?:[a-z0-9_-]{1,63}\.)*[a-z_][a-z0-9_-]{0,62}$/.test(text)
  );
}

/** The normal form of `text`, or `undefined` if it is no name. */
export function normalName(text: string): string | undefined {
  const relative = text.endsWith(".") ? text.slice(0, -1) : text;
  // domainToASCII() undoes percent signs and skips tabs, as in URLs; a resolver would do neither,
  // and the name that was checked has to be the name that is looked up.
  for (let at = 0; at < relative.length; at++) {
    const unit = relative.charCodeAt(at);
    if (unit < 0x80 && !/[A-Za-z0-9._-]/.test(relative[at]!)) return undefined;
  }
  const name = domainToASCII(relative);
  if (name === "" || name.length > 253) return undefined;
  return name.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label)) ? name : undefined;
}

/** The text of a host: RFC 5952 without brackets for IPv6. */
export function formatHost(host: Host): string {
  return host.kind === "name" ? host.name : formatIp(host.address);
}

/**
 * Read `host:port`, `[IPv6]:port`, or, with `defaultPort`, the host alone (IPv6 then needs no brackets).
 * The host comes back in its normal form.
 *
 * @throws {InvalidText} `ADDRESS_INVALID`
 */
export function parseHostPort(text: string, defaultPort?: number): HostPort {
  const expected =
    'expected "host:port" ("[::1]:7433" for IPv6)' +
    (defaultPort === undefined ? "" : `, or a host alone for port ${defaultPort}`);
  const match = /^(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?$/.exec(text);
  // More than one colon and no brackets: an IPv6 address by itself, or nothing.
  const [hostText, portText] = match === null ? [text, undefined] : [match[1]!, match[2]];
  const port = portText === undefined ? defaultPort : Number(portText);
  const host = parseHost(hostText);
  if (host === undefined || port === undefined || port > 65_535) {
    throw invalidText("ADDRESS_INVALID", "address", text, expected);
  }
  return { host: formatHost(host), port };
}

/** `host:port`, with brackets around IPv6. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
