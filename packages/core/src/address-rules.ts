/**
 * Address rules: the resource of `tunnel:*` scopes, and what they let a peer reach.
 *
 * ```text
 * pattern = host ":" port | "unix:" path-glob
 * host    = "*" | "localhost" | name with "*" | IPv4 [ "/" prefix ] | "[" IPv6 [ "/" prefix ] "]"
 * port    = "*" | number | low "-" high
 * ```
 *
 * A name matches the host that was asked for, an address or block the address it resolved to; either
 * suffices. Loopback, unspecified, link-local, multicast and cloud metadata addresses are _special_:
 * services there take their callers for local ones. No name, no `*`, no wider block opens them, only a
 * pattern of that very address or of a block within the special one. The same holds for Unix sockets.
 *
 * The check is made per candidate address, and the address checked is the one to connect to:
 * a name may resolve to something else a moment later.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { type Glob, matchGlob, parseGlob } from "./glob.ts";
import { normalName, parseHost } from "./host.ts";
import { invalidText } from "./invalid-text.ts";
import {
  blockContains,
  blockWithin,
  type IpAddress,
  type IpBlock,
  parseBlock,
  parseIp,
} from "./ip-address.ts";

/** A pattern, parsed once. */
export type AddressRule =
  | { readonly kind: "host"; readonly host: HostRule; readonly low: number; readonly high: number }
  | { readonly kind: "unix"; readonly path: Glob };

type HostRule =
  | { readonly kind: "any" }
  | { readonly kind: "name"; readonly name: Glob }
  | { readonly kind: "blocks"; readonly blocks: readonly IpBlock[] };

/** One address that a peer wants to reach. */
export interface AddressTarget {
  readonly kind: "address";
  readonly address: IpAddress;
  /** The host asked for, if it was a name. */
  readonly name: string | undefined;
  readonly port: number;
  /** See {@linkcode specialBlock}. */
  readonly special: IpBlock | undefined;
}

/** A name whose address is not known yet. */
export interface UnresolvedTarget {
  readonly kind: "unresolved";
  readonly name: string;
  readonly port: number;
}

/** A name that somebody else resolves, a proxy for one: what its address is, nobody here will know. */
export interface ElsewhereTarget {
  readonly kind: "elsewhere";
  readonly name: string;
  readonly port: number;
}

/** What a peer wants to reach, parsed once. */
export type Target =
  | AddressTarget
  | UnresolvedTarget
  | ElsewhereTarget
  | { readonly kind: "unix"; readonly path: string }
  /** No rule but that of the owner can match it. */
  | { readonly kind: "invalid"; readonly reason: string };

/** A target as a caller writes it; `address` is the candidate that the host resolved to. */
export type AddressResource =
  | { readonly host: string; readonly port: number; readonly address?: string | undefined }
  /** A name is resolved by somebody else: only a pattern of names can cover it. */
  | { readonly host: string; readonly port: number; readonly elsewhere: true }
  | { readonly unixPath: string };

/** Longest path of a Unix socket that is looked at; the kernel's own limit is 108 bytes. */
const MAX_PATH = 4_096;

/**
 * Read a pattern. `lowestPort` is 0 where a port may be left to the system (`tunnel:listen`).
 *
 * @throws {InvalidText} `SCOPE_INVALID`
 */
export function parseAddressRule(text: string, lowestPort: 0 | 1 = 1): AddressRule {
  if (text.startsWith("unix:")) return { kind: "unix", path: parsePath(text) };
  const match = /^(\[[^\]]*\]|[^:[\]]*):([^:]*)$/.exec(text);
  if (match === null) {
    throw invalid(text, 'expected "host:port" ("[::1]:5432" for IPv6) or "unix:/path"');
  }
  const [low, high] = parsePorts(text, match[2]!, lowestPort);
  return { kind: "host", host: parseHostRule(text, match[1]!), low, high };
}

/** Read what a peer asks for. Never throws: a peer may ask for anything. */
export function parseTarget(resource: AddressResource): Target {
  if ("unixPath" in resource) {
    const path = resource.unixPath;
    if (isPlainPath(path)) return { kind: "unix", path };
    return { kind: "invalid", reason: 'the path must be absolute, without "//", "." or ".."' };
  }
  const { port } = resource;
  const host = parseHost(resource.host);
  if (host === undefined) return { kind: "invalid", reason: "no such host name" };
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    return { kind: "invalid", reason: "the port must be 0 to 65535" };
  }
  const name = host.kind === "name" ? host.name : undefined;
  if ("elsewhere" in resource) {
    if (host.kind === "name") return { kind: "elsewhere", name: host.name, port };
    return addressTarget(host.address, name, port);
  }
  if (resource.address !== undefined) {
    const address = parseIp(resource.address);
    if (address !== undefined) return addressTarget(address, name, port);
    return { kind: "invalid", reason: "the address is not an IP address" };
  }
  if (host.kind === "address") return addressTarget(host.address, name, port);
  return { kind: "unresolved", name: host.name, port };
}

/** Whether `rule` lets a peer reach `target`; never so for a name without its address. */
export function ruleMatches(rule: AddressRule, target: Target): boolean {
  if (target.kind === "unix") return rule.kind === "unix" && matchGlob(rule.path, target.path);
  if (rule.kind !== "host") return false;
  if (target.kind === "elsewhere") {
    // `*` and blocks are about addresses; `localhost` is a block, and nobody else's loopback.
    const { host } = rule;
    return (
      host.kind === "name" && portMatches(rule, target.port) && matchGlob(host.name, target.name)
    );
  }
  if (target.kind !== "address") return false;
  return portMatches(rule, target.port) && hostMatches(rule.host, target);
}

/** Whether there is an address that would make `rule` match a name without one. */
export function ruleMayMatch(rule: AddressRule, target: UnresolvedTarget): boolean {
  if (rule.kind !== "host" || !portMatches(rule, target.port)) return false;
  return rule.host.kind !== "name" || matchGlob(rule.host.name, target.name);
}

/** Whether a scope without a resource (`tunnel:dial`, `tunnel:*`, `*`) covers `target`. */
export function bareMatches(target: Target): boolean {
  return target.kind === "address" && target.special === undefined;
}

/**
 * What a name is without any look-up: `localhost` and all under it are loopback (RFC 6761 §6.3).
 *
 * @returns `undefined` for other names.
 */
export function knownAddresses(target: UnresolvedTarget): readonly AddressTarget[] | undefined {
  const { name, port } = target;
  if (name !== "localhost" && !name.endsWith(".localhost")) return undefined;
  return LOOPBACKS.map((address) => addressTarget(address, name, port));
}

/**
 * The smallest special block that holds `address`, if any.
 *
 * The smallest: who opens the link-local block does not thereby open the metadata service in it.
 */
export function specialBlock(address: IpAddress): IpBlock | undefined {
  const blocks = address.family === 4 ? specialIpv4 : specialIpv6;
  return blocks.find((block) => blockContains(block, address));
}

function hostMatches(rule: HostRule, { address, name, special }: AddressTarget): boolean {
  switch (rule.kind) {
    case "any":
      return special === undefined;
    case "name":
      return special === undefined && name !== undefined && matchGlob(rule.name, name);
    case "blocks":
      return rule.blocks.some(
        (block) =>
          blockContains(block, address) && (special === undefined || blockWithin(block, special)),
      );
  }
}

function portMatches(rule: { readonly low: number; readonly high: number }, port: number): boolean {
  return rule.low <= port && port <= rule.high;
}

function addressTarget(address: IpAddress, name: string | undefined, port: number): AddressTarget {
  return { kind: "address", address, name, port, special: specialBlock(address) };
}

const LOCALHOST: readonly IpBlock[] = ["127.0.0.0/8", "::1"].map(parseBlock);
const LOOPBACKS: readonly IpAddress[] = ["127.0.0.1", "::1"].map(parseBlock);

/** Special IPv4 blocks. RFC 6890; metadata services as their clouds document them. */
const SPECIAL_IPV4 = [
  "0.0.0.0/8", // unspecified, "this network": Linux connects 0.0.0.0 to itself
  "127.0.0.0/8", // loopback
  "169.254.0.0/16", // link-local
  "224.0.0.0/4", // multicast
  "255.255.255.255", // limited broadcast
  "169.254.169.254", // metadata: AWS, Azure, Google, OpenStack, DigitalOcean, Hetzner and others
  "169.254.170.2", // AWS ECS task credentials
  "169.254.170.23", // AWS EKS pod identity
  "169.254.0.23", // Tencent
  "169.254.42.42", // Scaleway
  "100.100.100.200", // Alibaba
  "168.63.129.16", // Azure's wire server
  "192.0.0.192", // Oracle
];

const SPECIAL_IPV6 = [
  "::", // unspecified
  "::1", // loopback
  "fe80::/10", // link-local
  "ff00::/8", // multicast
  "fd00:ec2::254", // AWS
  "fd00:ec2::23", // AWS EKS pod identity
  "fd20:ce::254", // Google
  "fd00:42::42", // Scaleway
  "fe80::a9fe:a9fe", // OpenStack
  "64:ff9b:1::/48", // local-use NAT64 (RFC 8215): what lies behind it, the network alone knows
];

/**
 * IPv6 prefixes that carry an IPv4 address: compatible (RFC 4291), translated (RFC 7915), NAT64 (RFC 6052),
 * 6to4 (RFC 3056).
 */
const CARRIERS = ["::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "2002::/16"].map(parseBlock);

/** Smallest first. */
const specialBlocks: readonly IpBlock[] = [
  ...[...SPECIAL_IPV4, ...SPECIAL_IPV6].map(parseBlock),
  ...SPECIAL_IPV4.map(parseBlock).flatMap((block) =>
    CARRIERS.map((carrier) => carried(carrier, block)),
  ),
].toSorted((a, b) => b.prefix - a.prefix);
const specialIpv4 = specialBlocks.filter(({ family }) => family === 4);
const specialIpv6 = specialBlocks.filter(({ family }) => family === 6);

/** The block of IPv6 addresses that carry an address of `block` behind the prefix of `carrier`. */
function carried(carrier: IpBlock, block: IpBlock): IpBlock {
  const [a, b, c, d] = carrier.words;
  const word = block.words[0];
  const prefix = carrier.prefix + block.prefix;
  if (carrier.prefix === 96) return { family: 6, words: [a, b, c, word], prefix };
  return { family: 6, words: [a | (word >>> 16), word << 16, c, d], prefix };
}

function parseHostRule(text: string, host: string): HostRule {
  if (host === "*") return { kind: "any" };
  if (host.startsWith("[")) {
    const inner = host.slice(1, -1);
    if (!inner.includes(":")) throw invalid(text, "expected an IPv6 address or block in brackets");
    return { kind: "blocks", blocks: [blockOf(text, inner)] };
  }
  if (/^[0-9.]+(\/.*)?$/.test(host)) return { kind: "blocks", blocks: [blockOf(text, host)] };
  const name = namePattern(host);
  if (name === undefined) {
    throw invalid(
      text,
      'expected as host "*", "localhost", a name (which may contain "*"), an IPv4 address or block, or an IPv6 one in brackets',
    );
  }
  // A block, so that it also holds for whatever else resolves to loopback, and for nothing else.
  if (name === "localhost") return { kind: "blocks", blocks: LOCALHOST };
  if (/^[0-9.*]+$/.test(name) || parseHost(name.replaceAll("*", "x"))?.kind === "address") {
    throw invalid(text, 'addresses are not matched as text: write a block, "10.0.0.0/8"');
  }
  return { kind: "name", name: parseGlob(name) };
}

function blockOf(text: string, block: string): IpBlock {
  try {
    return parseBlock(block);
  } catch (error) {
    throw invalid(text, (error as Error).message);
  }
}

/** The normal form of a name that may contain `*`; labels with one are ASCII. */
function namePattern(host: string): string | undefined {
  if (!host.includes("*")) return normalName(host);
  if (host.includes("**") || host.length > 253) return undefined;
  const labels = host.replace(/\.$/, "").split(".");
  const normal = labels.map((label) => {
    if (/^[A-Za-z0-9_*-]{1,63}$/.test(label)) return label.toLowerCase();
    // With a label after it, so that one of digits is not taken for an IPv4 address.
    return label.includes("*") ? undefined : normalName(`${label}.x`)?.slice(0, -2);
  });
  return normal.includes(undefined) ? undefined : normal.join(".");
}

function parsePorts(text: string, ports: string, lowest: 0 | 1): [low: number, high: number] {
  if (ports === "*") return [lowest, 65_535];
  const match = /^(0|[1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?$/.exec(ports);
  const low = Number(match?.[1]);
  const high = Number(match?.[2] ?? match?.[1]);
  if (match === null || low < lowest || high > 65_535 || low > high) {
    throw invalid(text, `expected as port "*", ${lowest} to 65535, or a range "low-high"`);
  }
  return [low, high];
}

function parsePath(text: string): Glob {
  const path = text.slice("unix:".length);
  if (!isPlainPath(path)) {
    throw invalid(text, 'expected after "unix:" an absolute path, without "//", "." or ".."');
  }
  return parseGlob(path);
}

/** Absolute and in its one form: what is compared as text must have one text. */
function isPlainPath(path: string): boolean {
  if (!path.startsWith("/") || path.length > MAX_PATH || path.includes("\0")) return false;
  return path
    .slice(1)
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== "..");
}

function invalid(text: string, expected: string): SyntaxError {
  return invalidText("SCOPE_INVALID", "address pattern", text, expected);
}
