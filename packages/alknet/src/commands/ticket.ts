/**
 * `alknet ticket`: this node's key and addresses in one line, for others to dial.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import { loadConfig } from "@alknet/core/config";
import { formatHostPort, parseHostPort } from "@alknet/core/host";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import { DEFAULT_PORT } from "@alknet/core/peers";
import { formatTicket } from "@alknet/core/ticket";
import { CommandError } from "../command-error.ts";
import type { Context } from "../context.ts";
import { askNode } from "../control.ts";
import type { NodeStatus } from "../node-status.ts";
import { ownAddresses } from "../own-addresses.ts";
import { printJson, say } from "../terminal.ts";

export interface TicketOptions {
  readonly json: boolean;
  readonly address?: readonly string[] | undefined;
}

export async function ticket({ home, terminal }: Context, options: TicketOptions): Promise<void> {
  const { name, listen, identity } = await loadConfig(home.config);
  const { fingerprint } = loadOrCreateIdentity(identity ?? home.identity);
  const addresses =
    options.address?.map((text) => formatHostPort(parseHostPort(text, DEFAULT_PORT))) ??
    (await runningAddresses(home)) ??
    ownAddresses(listen, networkInterfaces());
  const text = formatTicket({ fingerprint, addresses, name });
  if (options.json) {
    printJson(terminal, { ticket: text, fingerprint, addresses, name });
    return;
  }
  terminal.data.write(`${text}\n`);
  if (terminal.words.isTerminal) say(terminal, `\nIt leads to ${addresses.join(", ")}`);
}

/** What the running node says: it knows which port it got. */
async function runningAddresses(home: Context["home"]): Promise<readonly string[] | undefined> {
  try {
    return ((await askNode(home, "status")) as NodeStatus).addresses;
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
