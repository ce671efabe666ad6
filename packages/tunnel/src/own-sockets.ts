/**
 * Sockets that the node itself listens at. No forward leads there: what listens at them takes who is on this
 * machine for its owner, or would let a peer come back as somebody else. And no peer listens there: the owner's own
 * programs would take that for the node, or for the vault's agent.
 *
 * @module
 */

import { type BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { dirname } from "node:path";
import {
  blockContains,
  formatIp,
  type IpAddress,
  parseBlock,
  parseIp,
} from "@alknet/core/ip-address";

/** Tells the node's own sockets from those of others. */
export interface OwnSockets {
  /** Whether connecting to `address` and `port` from this machine, by TCP or UDP, leads to the node itself. */
  readonly isOwn: (address: string, port: number) => boolean;
  /** Whether `path` is a Unix socket of the node, by whatever name: symbolic and hard links lead to the same file. */
  readonly isOwnPath: (path: string) => Promise<boolean>;
  /** Whether `folder`, absolute and without links, is one of the node's, or within one: its sockets may be there later. */
  readonly isOwnFolder: (folder: string) => Promise<boolean>;
}

/** Of who has no node. */
export const NOTHING_OWN: OwnSockets = {
  isOwn: () => false,
  isOwnPath: async () => false,
  isOwnFolder: async () => false,
};

export interface OwnSocketPlaces {
  /**
   * Where the node listens now, TCP and UDP alike, as it has bound: the endpoint's addresses, the plain
   * listener of SSH, and every other port that it has opened for itself. Asked on each flow. Listeners that peers
   * have asked for are no such ports.
   */
  addresses: () => readonly { readonly host: string; readonly port: number }[];
  /** Unix sockets it listens at now: of control, of the vault's agent, of SSH agents. Absolute. */
  paths: () => readonly string[];
  /** Folders where nothing but the node makes sockets: with its configuration, data, and sockets. Absolute. @default none */
  folders?: (() => readonly string[]) | undefined;
  /** Addresses of this machine now. @default those of its interfaces; loopback is known */
  localAddresses?: (() => readonly string[]) | undefined;
}

/**
 * The guard of a node that listens at `places`.
 *
 * It knows addresses that this machine has. One that leads back from outside, such as that of a router which
 * forwards a port to this node, it cannot know.
 */
export function ownSockets(places: OwnSocketPlaces): OwnSockets {
  const { localAddresses = addressesOfInterfaces, folders = () => [] } = places;

  function isLocal(address: IpAddress): boolean {
    if (LOOPBACK.some((block) => blockContains(block, address)) || isUnspecified(address)) {
      return true;
    }
    const text = formatIp(address);
    return localAddresses().some((local) => {
      const parsed = parseIp(local);
      return parsed !== undefined && formatIp(parsed) === text;
    });
  }

  function leadsTo(own: string, address: IpAddress): boolean {
    const bound = parseIp(own);
    // What is no address was bound by a name: which one, the system knows.
    if (bound === undefined || isUnspecified(bound)) return isLocal(address);
    if (formatIp(bound) === formatIp(address)) return true;
    // Linux connects 0.0.0.0 and :: to loopback.
    return isUnspecified(address) && LOOPBACK.some((block) => blockContains(block, bound));
  }

  return {
    isOwn(text, port) {
      const address = parseIp(text);
      if (address === undefined) return false;
      return places.addresses().some((own) => own.port === port && leadsTo(own.host, address));
    },
    async isOwnPath(path) {
      const asked = await fileAt(path);
      if (asked === undefined) return false;
      return await isOneOf(asked, places.paths());
    },
    async isOwnFolder(folder) {
      for (let path = folder; ; path = dirname(path)) {
        const asked = await fileAt(path);
        if (asked !== undefined && (await isOneOf(asked, folders()))) return true;
        if (path === dirname(path)) return false;
      }
    },
  };
}

const LOOPBACK = ["127.0.0.0/8", "::1"].map(parseBlock);

function isUnspecified({ words }: IpAddress): boolean {
  return words.every((word) => word === 0);
}

function addressesOfInterfaces(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap(
    (of) => of?.map(({ address }) => address) ?? [],
  );
}

async function isOneOf(asked: BigIntStats, paths: readonly string[]): Promise<boolean> {
  const files = await Promise.all(paths.map(fileAt));
  return files.some((file) => file?.dev === asked.dev && file.ino === asked.ino);
}

/** `undefined`: there is none, or none that we may see, and so none that we could connect to. */
async function fileAt(path: string): Promise<BigIntStats | undefined> {
  return await stat(path, { bigint: true }).catch(() => undefined);
}
