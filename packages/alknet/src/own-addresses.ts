/**
 * Addresses under which others may reach this node, for its ticket.
 *
 * Pure: the interfaces are handed in.
 *
 * @module
 */

import { BlockList, isIPv6 } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";
import { formatHostPort, type HostPort } from "@alknet/core/host";
import { MAX_ADDRESSES } from "@alknet/core/ticket";

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** Bridges to containers and virtual machines: nobody outside reaches the node by their addresses. */
const INNER_INTERFACE = /^(docker|br-|veth|virbr|vmnet|vboxnet|lxc|lxd|cni|flannel|cali|podman)/;

/**
 * `host:port` for each address of `interfaces` on which one of `bound` listens: public ones first, then
 * private ones, and loopback only when there is nothing else.
 */
export function ownAddresses(bound: readonly HostPort[], interfaces: Interfaces): string[] {
  const found = new Map<string, number>();
  const add = (host: string, port: number) => {
    const rank = rankOf(host);
    if (rank !== undefined) found.set(formatHostPort({ host, port }), rank);
  };
  for (const { host, port } of bound) {
    // `::` takes IPv4 as well.
    if (host !== "::" && host !== "0.0.0.0") {
      add(host, port);
      continue;
    }
    for (const [name, addresses] of Object.entries(interfaces)) {
      if (INNER_INTERFACE.test(name)) continue;
      for (const { address, family } of addresses ?? []) {
        if (host === "::" || family === "IPv4") add(address, port);
      }
    }
  }
  const ranked = [...found].toSorted(([, a], [, b]) => a - b);
  const outer = ranked.filter(([, rank]) => rank < LOOPBACK);
  return (outer.length > 0 ? outer : ranked).slice(0, MAX_ADDRESSES).map(([address]) => address);
}

/** Whether listening at `address` lets in more than this machine and its own network. */
export function isPublicAddress(address: string): boolean {
  return address === "::" || address === "0.0.0.0" || (rankOf(address) ?? PRIVATE) < PRIVATE;
}

const PRIVATE = 2;
const LOOPBACK = 4;

/** Lower is better; `undefined`: means nothing on another machine. */
function rankOf(address: string): number | undefined {
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  if (loopback.check(address, family)) return LOOPBACK;
  if (local.check(address, family)) return undefined;
  return (privateUse.check(address, family) ? PRIVATE : 0) + (family === "ipv6" ? 1 : 0);
}

const loopback = blocks(["127.0.0.0", 8], ["::1", 128]);
const local = blocks(["169.254.0.0", 16], ["fe80::", 10]);
/** RFC 1918, RFC 6598, RFC 4193. */
const privateUse = blocks(
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
  ["fc00::", 7],
);

function blocks(...subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of subnets) {
    list.addSubnet(address, prefix, isIPv6(address) ? "ipv6" : "ipv4");
  }
  return list;
}
