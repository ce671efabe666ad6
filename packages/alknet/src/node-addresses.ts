/**
 * Where others reach this node: for its tickets.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import type { Config } from "@alknet/core/config";
import { formatHostPort, parseHostPort } from "@alknet/core/host";
import { DEFAULT_PORT } from "@alknet/core/peers";
import { CommandError } from "./command-error.ts";
import type { Context } from "./context.ts";
import { askNode } from "./control.ts";
import { ownAddresses } from "./own-addresses.ts";

export interface NodeAddresses {
  /** `host:port` */
  readonly addresses: readonly string[];
  /** Whether a node of this folder is running: it knows which port it got. */
  readonly running: boolean;
}

/**
 * Addresses as given, else as the running node has them, else as the configuration lets one expect.
 *
 * @throws {InvalidText} `ADDRESS_INVALID`
 */
export async function nodeAddresses(
  home: Context["home"],
  { listen }: Pick<Config, "listen">,
  given: readonly string[] | undefined,
): Promise<NodeAddresses> {
  const parsed = given?.map((text) => formatHostPort(parseHostPort(text, DEFAULT_PORT)));
  const running = await runningAddresses(home);
  const addresses = parsed ?? running ?? ownAddresses(listen, networkInterfaces());
  return { addresses, running: running !== undefined };
}

async function runningAddresses(home: Context["home"]): Promise<readonly string[] | undefined> {
  try {
    return (await askNode(home, (node) => node.status())).addresses;
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
