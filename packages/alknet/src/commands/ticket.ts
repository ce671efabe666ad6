/**
 * `alknet ticket`: this node's key and addresses in one line, for others to dial.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import { formatTicket } from "@alknet/core/ticket";
import type { Context } from "../context.ts";
import { nodeAddresses } from "../node-addresses.ts";
import { nodeFingerprint } from "../node-identity.ts";
import { printJson, say } from "../terminal.ts";

export interface TicketOptions {
  readonly json: boolean;
  readonly address?: readonly string[] | undefined;
}

export async function ticket(context: Context, options: TicketOptions): Promise<void> {
  const { home, terminal } = context;
  const config = await loadConfig(home.config);
  const { name } = config;
  const fingerprint = await nodeFingerprint(context, config);
  const { addresses } = await nodeAddresses(home, config, options.address);
  const text = formatTicket({ fingerprint, addresses, name });
  if (options.json) {
    printJson(terminal, { ticket: text, fingerprint, addresses, name });
    return;
  }
  terminal.data.write(`${text}\n`);
  if (terminal.words.isTerminal) say(terminal, `\nIt leads to ${addresses.join(", ")}`);
}
