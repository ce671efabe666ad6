/**
 * `alknet id`: the fingerprint of this node's key, by which others know it.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import type { Context } from "../context.ts";
import { printJson, say } from "../terminal.ts";

export async function id(
  { home, terminal }: Context,
  { json }: { readonly json: boolean },
): Promise<void> {
  const { name, identity = home.identity } = await loadConfig(home.config);
  const { fingerprint } = loadOrCreateIdentity(identity);
  if (json) {
    printJson(terminal, { fingerprint, name, path: identity });
    return;
  }
  terminal.data.write(`${fingerprint}\n`);
  if (!terminal.words.isTerminal) return;
  say(terminal, `\nTo let this key in on another node, over there:\n`);
  say(terminal, `  alknet peers add ${name ?? "NAME"} ${fingerprint} --grant SCOPE`);
}
