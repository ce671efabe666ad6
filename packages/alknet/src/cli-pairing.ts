/**
 * The commands that let a machine in by a line that is pasted there: `invite`.
 *
 * @module
 */

import { type Command, Option } from "commander";
import type { Context } from "./context.ts";

/** Makes a command with the options that all have. */
type MakeCommand = (name: string, description: string, parent?: Command) => Command;

interface Json {
  readonly json: boolean;
}

const GRANT = "a right, as tunnel:dial:localhost:5432; several may be given";

export function addInviteCommands(context: Context, command: MakeCommand): void {
  const load = () => import("./commands/invite.ts");
  const invite = command("invite", "let a machine in, once, by a line to be pasted there")
    .option("--name <name>", "what it is to be called here (default: as it likes, if that is free)")
    .addOption(new Option("--grant <scope...>", GRANT).default([], "nothing"))
    .option("--add-key", "it is one key more of the peer of that name", false)
    .option("--expires <span>", "how long it is good for, as 10m, 2h or 3d (default: 10m)")
    .option("--address <host:port...>", "where this node is reached (default: found out)")
    .action(
      async (options: import("./commands/invite.ts").InviteOptions) =>
        await (await load()).invite(context, options),
    );

  command("list", "the invitations there are, used ones too", invite).action(
    async (options: Json) => await (await load()).listInvitations(context, options),
  );

  command("revoke", "take an invitation back", invite)
    .argument("<id>", "as alknet invite list prints it")
    .action(
      async (id: string, options: Json) =>
        await (await load()).revokeInvitation(context, id, options),
    );
}
