/**
 * `alknet id`: the fingerprint of this node's key, by which others know it.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config-file";
import type { Context } from "../context.ts";
import { identitySource, nodeFingerprint } from "../node-identity.ts";
import { printJson, say } from "../terminal.ts";

export async function id(context: Context, { json }: { readonly json: boolean }): Promise<void> {
  const { home, terminal } = context;
  const config = await loadConfig(home.config);
  const { name } = config;
  const fingerprint = await nodeFingerprint(context, config);
  if (json) {
    const { path } = identitySource(home, config);
    printJson(terminal, { fingerprint, name, path });
    return;
  }
  terminal.data.write(`${fingerprint}\n`);
  if (!terminal.words.isTerminal) return;
  say(terminal, `\nTo let this key in on another node, over there:\n`);
  say(terminal, `  alknet peers add ${name ?? "NAME"} ${fingerprint} --grant SCOPE`);
}
