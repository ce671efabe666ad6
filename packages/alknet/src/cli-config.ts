/**
 * The commands about the configuration: `alknet config`.
 *
 * @module
 */

import type { MakeCommand } from "./cli-peers.ts";
import type { Context } from "./context.ts";

interface Json {
  readonly json: boolean;
}

export function addConfigCommands(context: Context, command: MakeCommand): void {
  const load = () => import("./commands/config.ts");
  const config = command("config", "the configuration: check, show, reload");

  command("check", "say what is wrong with it, and where", config)
    .argument("[file]", "another file than this node's")
    .action(
      async (file: string | undefined, options: Json) =>
        await (await load()).checkConfigFile(context, file, options),
    );

  command("show", "what holds, and what of it is a default", config)
    .option("--defaults", "a file to begin with: all keys with their defaults", false)
    .action(
      async (options: Json & { defaults: boolean }) =>
        await (await load()).showConfig(context, options),
    );

  command("path", "where the file is, or would be", config).action(async (options: Json) =>
    (await load()).configPath(context, options),
  );

  command("schema", "its JSON Schema, for editors", config).action(async (options: Json) =>
    (await load()).configSchema(context, options),
  );

  command("reload", "have the running node read it now", config).action(
    async (options: Json) => await (await load()).reloadConfig(context, options),
  );
}
