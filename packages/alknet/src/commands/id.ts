/**
 * `alknet id`: the fingerprint of this node's key, by which others know it.
 *
 * @module
 */

import { loadConfig } from "@alknet/core/config";
import { loadOrCreateIdentity } from "@alknet/core/identity-file";
import type { Context } from "../context.ts";
import { peerSnippet } from "../peer-snippet.ts";
import { printJson, say } from "../terminal.ts";

export function id({ home, terminal }: Context, { json }: { readonly json: boolean }): void {
  const { name } = loadConfig(home.config);
  const { fingerprint } = loadOrCreateIdentity(home.identity);
  if (json) {
    printJson(terminal, { fingerprint, name, path: home.identity });
    return;
  }
  terminal.data.write(`${fingerprint}\n`);
  if (!terminal.words.isTerminal) return;
  say(terminal, `\nTo let this key in on another node, add to its alknet.toml:\n`);
  say(terminal, peerSnippet(name ?? "NAME", fingerprint));
}
