/**
 * The commands about who is known and what they may do: `peers`, `token`, `log`.
 *
 * @module
 */

import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "./context.ts";

/** Makes a command with the options that all have. */
export type MakeCommand = (name: string, description: string, parent?: Command) => Command;

interface Json {
  readonly json: boolean;
}

const SCOPE = "a right, as tunnel:dial:localhost:5432; several may be given";

const ACCOUNTS = "account of this machine that SSH logs it in to; the first of several is its own";

export function addPeersCommands(context: Context, command: MakeCommand): void {
  const load = () => import("./commands/peers.ts");
  const peers = command("peers", "who is known, and what they may do").action(
    async (options: Json) => await (await load()).listPeers(context, options),
  );

  command("list", "all that are known (also: alknet peers)", peers).action(
    async (options: Json) => await (await load()).listPeers(context, options),
  );

  command("show", "one of them, with keys and rights", peers)
    .argument("<name>")
    .action(
      async (name: string, options: Json) => await (await load()).showPeer(context, name, options),
    );

  command("add", "let a key in", peers)
    .argument("<name>", "what it is called from now on")
    .argument("[fingerprint...]", "as alknet id prints it over there")
    .option("--ssh-key <file>", "the keys of a file such as ~/.ssh/id_ed25519.pub")
    .option("--grant <scope...>", SCOPE, [])
    .option("--address <host:port...>", "where to dial it", [])
    .option("--display-name <text>", "what people are shown")
    .option("--user <login...>", ACCOUNTS, [])
    .action(
      async (name: string, keys: string[], options: import("./commands/peers.ts").AddOptions) =>
        await (await load()).addPeer(context, name, keys, options),
    );

  command("set", "change what is known of a peer", peers)
    .argument("<name>")
    .option("--user <login...>", ACCOUNTS)
    .option("--no-user", "no account of its own")
    .option("--address <host:port...>", "where to dial it, in the place of what is known")
    .action(
      async (name: string, options: import("./commands/peers.ts").SetOptions) =>
        await (await load()).setPeer(context, name, options),
    );

  command("grant", "give a peer rights; at once", peers)
    .argument("<name>")
    .argument("<scope...>", SCOPE)
    .option("--until <when>", "for a time, as 2h, or until 2026-12-31T18:00:00Z")
    .action(
      async (name: string, scopes: string[], options: Json & { until?: string }) =>
        await (await load()).grantPeer(context, name, scopes, options),
    );

  command("revoke", "take rights away; what they allow ends at once", peers)
    .argument("<name>")
    .argument("[scope...]", "as alknet peers show prints them")
    .option("--all", "every right; the key stays known", false)
    .action(
      async (name: string, scopes: string[], options: Json & { all: boolean }) =>
        await (await load()).revokePeer(context, name, scopes, options),
    );

  command(
    "disable",
    "let a peer in by nothing, nor by an invitation, and end what it does; it keeps its rights",
    peers,
  )
    .argument("<name>")
    .action(
      async (name: string, options: Json) =>
        await (await load()).enablePeer(context, name, false, options),
    );

  command("enable", "undo disable", peers)
    .argument("<name>")
    .action(
      async (name: string, options: Json) =>
        await (await load()).enablePeer(context, name, true, options),
    );

  command("rename", "give a peer another name", peers)
    .argument("<name>")
    .argument("<new-name>")
    .action(
      async (name: string, to: string, options: Json) =>
        await (await load()).renamePeer(context, name, to, options),
    );

  command("rotate-key", "replace the keys of a peer by a new one; it keeps its rights", peers)
    .argument("<name>")
    .argument("<fingerprint>")
    .option("--keep", "keep the old ones, too", false)
    .action(
      async (name: string, key: string, options: Json & { keep: boolean }) =>
        await (await load()).rotateKey(context, name, key, options),
    );

  command("remove", "forget a peer, and end what it does", peers)
    .argument("<name>")
    .action(
      async (name: string, options: Json) =>
        await (await load()).removePeer(context, name, options),
    );
}

export function addTokenCommands(context: Context, command: MakeCommand): void {
  const load = () => import("./commands/token.ts");
  const token = command("token", "bearer tokens, for programs that hold no key").action(
    async (options: Json) => await (await load()).listTokens(context, options),
  );

  command("create", "make a token; it is shown once", token)
    .option("--grant <scope...>", SCOPE, [])
    .option("--expires <when>", "in 30d, or at 2026-12-31T18:00:00Z")
    .option("--description <text>", "what it is for")
    .action(
      async (options: import("./commands/token.ts").CreateTokenOptions) =>
        await (await load()).createTokenCommand(context, options),
    );

  command("list", "the tokens there are, by their first 8 characters", token).action(
    async (options: Json) => await (await load()).listTokens(context, options),
  );

  command("revoke", "take a token away; what it allows ends at once", token)
    .argument("<prefix>", "its first 8 characters")
    .action(
      async (prefix: string, options: Json) =>
        await (await load()).revokeToken(context, prefix, options),
    );
}

export function addLogCommand(context: Context, command: MakeCommand): void {
  command("log", "who was refused what and why, who changed what when")
    .option("-f, --follow", "go on with what comes", false)
    .option("-n, --lines <n>", "how many lines of what was", linesOf, 50)
    .action(
      async (options: import("./commands/log.ts").LogOptions) =>
        await (await import("./commands/log.ts")).log(context, options),
    );
}

function linesOf(text: string): number {
  const lines = /^[0-9]{1,5}$/.test(text) ? Number(text) : -1;
  if (lines >= 0) return lines;
  throw new InvalidArgumentError("expected 0 to 99999.");
}
