/**
 * The commands about secrets for others' services: `credential`.
 *
 * @module
 */

import type { MakeCommand } from "./cli-peers.ts";
import { PASSPHRASE_STDIN } from "./cli-vault.ts";
import type { Context } from "./context.ts";

const PROVIDER = "what it is for, as github or aws/eu-1";

export function addCredentialCommands(context: Context, command: MakeCommand): void {
  const load = () => import("./commands/credential.ts");
  const credential = command("credential", "secrets for others' services, sealed by the vault");

  command("set", "keep a secret: from stdin, or typed unseen", credential)
    .argument("<provider>", PROVIDER)
    .option("--trim", "leave out the end of line at the end of what is piped in", false)
    .option("--passphrase-stdin", PASSPHRASE_STDIN, false)
    .action(
      async (provider: string, options: import("./commands/credential.ts").SetCredentialOptions) =>
        await (await load()).setCredential(context, provider, options),
    );

  command("get", "write a secret to stdout, as it is; --json: as base64", credential)
    .argument("<provider>")
    .option("--force", "also onto a terminal", false)
    .option("--passphrase-stdin", PASSPHRASE_STDIN, false)
    .action(
      async (provider: string, options: import("./commands/credential.ts").GetCredentialOptions) =>
        await (await load()).getCredential(context, provider, options),
    );

  command("list", "which there are; nothing is opened", credential).action(
    async (options: { json: boolean }) => await (await load()).listCredentials(context, options),
  );

  command("remove", "forget a secret", credential)
    .argument("<provider>")
    .action(
      async (provider: string, options: { json: boolean }) =>
        await (await load()).removeCredential(context, provider, options),
    );
}
