/**
 * `alknet ticket`: this node's key and addresses in one line, for others to dial.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import { formatTicket } from "@alknet/core/ticket";
import type { Context } from "../context.ts";
import { nodeAddresses } from "../node-addresses.ts";
import { printJson, say } from "../terminal.ts";

export interface TicketOptions {
  readonly json: boolean;
  readonly address?: readonly string[] | undefined;
}

export async function ticket({ home, terminal }: Context, options: TicketOptions): Promise<void> {
  const config = await loadConfig(home.config);
  const { name, identity } = config;
  const { fingerprint } = loadOrCreateIdentity(identity ?? home.identity);
  const { addresses } = await nodeAddresses(home, config, options.address);
  const text = formatTicket({ fingerprint, addresses, name });
  if (options.json) {
    printJson(terminal, { ticket: text, fingerprint, addresses, name });
    return;
  }
  terminal.data.write(`${text}\n`);
  if (terminal.words.isTerminal) say(terminal, `\nIt leads to ${addresses.join(", ")}`);
}
