/**
 * The commands that make OpenSSH know peers.
 *
 * @module
 */

import { Option } from "commander";
import { overQuic, overTcp, type TransportFlags, transportsOf } from "./cli-transports.ts";
import type { MakeCommand } from "./cli-peers.ts";
import type { Context } from "./context.ts";

export function addOpensshCommands(context: Context, command: MakeCommand): void {
  command("proxy", "stdin and stdout as a connection to a peer's SSH server: for ProxyCommand")
    .argument("<host>", "a peer's name, with or without .alk")
    .addOption(overTcp())
    .addOption(overQuic())
    .action(async (host: string, options: TransportFlags) => {
      const transports = transportsOf(options);
      await (await import("./commands/proxy.ts")).proxy(context, host, { transports });
    });

  command("ssh-config", "what ssh needs to find peers by their names, as laptop.alk")
    .option("--install", "add it to ~/.ssh/config", false)
    .addOption(new Option("--remove", "take it out again").default(false).conflicts("install"))
    .option("--file <path>", "another file than ~/.ssh/config")
    .action(async (options: import("./commands/ssh-config.ts").SshConfigOptions) => {
      await (await import("./commands/ssh-config.ts")).sshConfig(context, options);
    });
}
